import { isDeepStrictEqual } from 'node:util';
import type { GatewayConnection, GatewayUpstream, NamespaceStored, NodeStored } from '../kube/objects.ts';
import type { StoreEvent } from '../kube/store.ts';

/**
 * Whether an event of one of our own objects asks for a reconcile. Changes of its status alone do not: they are our
 * own, and acting on them would never end.
 */
export function concernsObject({
  previous,
  current,
}: StoreEvent<GatewayUpstream | GatewayConnection>): boolean {
  if (previous === undefined || current === undefined) return true;
  return (
    previous.uid !== current.uid ||
    previous.generation !== current.generation ||
    previous.deletionTimestamp !== current.deletionTimestamp ||
    previous.finalizers.join() !== current.finalizers.join() ||
    ('acceptRemoval' in previous &&
      'acceptRemoval' in current &&
      previous.acceptRemoval !== current.acceptRemoval)
  );
}

/** Whether a namespace's event may change what its objects are allowed, or how they end. */
export function concernsNamespace({ previous, current }: StoreEvent<NamespaceStored>): boolean {
  if (previous === undefined || current === undefined) return true;
  if (previous.terminating !== current.terminating) return true;
  const keys = new Set([...Object.keys(previous.labels), ...Object.keys(current.labels)]);
  return [...keys].some((key) => previous.labels[key] !== current.labels[key]);
}

/** Whether a node's event may change what stands for it in a gateway: the kubelet's heartbeats do not. */
export function concernsNode({ previous, current }: StoreEvent<NodeStored>): boolean {
  if (previous === undefined || current === undefined) return true;
  return !isDeepStrictEqual(
    [previous.ready, previous.labels, previous.addresses],
    [current.ready, current.labels, current.addresses],
  );
}
