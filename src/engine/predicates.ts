import { isDeepStrictEqual } from 'node:util';
import type { SetService } from '../decide/upstream-set.ts';
import type {
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  NamespaceStored,
  NodeStored,
  ServiceRegistry,
} from '../model/objects.ts';
import type { StoreEvent } from '../model/store-view.ts';

/**
 * Whether an event of a custom resource needs a reconcile. A change of the status alone does not: the operator wrote it, and
 * reconciling it would never end.
 */
export function concernsObject({
  previous,
  current,
}: StoreEvent<GatewayUpstream | GatewayConnection | ServiceRegistry>): boolean {
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

/** Whether a namespace event may change the access or the deletion of its objects. */
export function concernsNamespace({ previous, current }: StoreEvent<NamespaceStored>): boolean {
  if (previous === undefined || current === undefined) return true;
  if (previous.terminating !== current.terminating) return true;
  const keys = new Set([...Object.keys(previous.labels), ...Object.keys(current.labels)]);
  return [...keys].some((key) => previous.labels[key] !== current.labels[key]);
}

/** Whether a node event may change gateway nodes. The kubelet's heartbeats do not. */
export function concernsNode({ previous, current }: StoreEvent<NodeStored>): boolean {
  if (previous === undefined || current === undefined) return true;
  return !isDeepStrictEqual(
    [previous.ready, previous.labels, previous.addresses],
    [current.ready, current.labels, current.addresses],
  );
}

/** Whether a Service event may change the GatewayUpstreams that a set creates for it. */
export function concernsSelection({ previous, current }: StoreEvent<SetService>): boolean {
  if (previous === undefined || current === undefined) return true;
  return (
    previous.type !== current.type ||
    !isDeepStrictEqual(previous.labels, current.labels) ||
    !isDeepStrictEqual(previous.ports, current.ports)
  );
}

/** Whether a GatewayUpstream event concerns the set that created it, or a set that wants to create one of this name. */
export function concernsMember({ previous, current }: StoreEvent<GatewayUpstream>): boolean {
  if (previous === undefined || current === undefined) return true;
  return (
    previous.generation !== current.generation ||
    previous.deletionTimestamp !== current.deletionTimestamp ||
    !isDeepStrictEqual(previous.madeBy, current.madeBy)
  );
}

/** Whether a set event changes more than the status. */
export function concernsSet({ previous, current }: StoreEvent<GatewayUpstreamSet>): boolean {
  if (previous === undefined || current === undefined) return true;
  return (
    previous.generation !== current.generation ||
    previous.deletionTimestamp !== current.deletionTimestamp ||
    previous.acceptPrune !== current.acceptPrune
  );
}
