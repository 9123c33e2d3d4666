import { isDeepStrictEqual } from 'node:util';
import type { SetService } from '../decide/upstream-set.ts';
import type {
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  NamespaceStored,
  NodeStored,
} from '../model/objects.ts';
import type { StoreEvent } from '../model/store-view.ts';

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

/** Whether a Service's event may change which GatewayUpstreams a set makes of it. */
export function concernsSelection({ previous, current }: StoreEvent<SetService>): boolean {
  if (previous === undefined || current === undefined) return true;
  return (
    previous.type !== current.type ||
    !isDeepStrictEqual(previous.labels, current.labels) ||
    !isDeepStrictEqual(previous.ports, current.ports)
  );
}

/** Whether an event of a GatewayUpstream may ask something of the set that it belongs to, or of one that wants its name. */
export function concernsMember({ previous, current }: StoreEvent<GatewayUpstream>): boolean {
  if (previous === undefined || current === undefined) return true;
  return (
    previous.generation !== current.generation ||
    previous.deletionTimestamp !== current.deletionTimestamp ||
    !isDeepStrictEqual(previous.madeBy, current.madeBy)
  );
}

/** Whether an event of a set asks for more than what its own status says. */
export function concernsSet({ previous, current }: StoreEvent<GatewayUpstreamSet>): boolean {
  if (previous === undefined || current === undefined) return true;
  return (
    previous.generation !== current.generation ||
    previous.deletionTimestamp !== current.deletionTimestamp ||
    previous.acceptPrune !== current.acceptPrune
  );
}
