import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { OwnerMark } from '../model/ownership.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import { wantedId } from './id-conflicts.ts';
import { createTimeSeconds, ownerOf } from './owner.ts';
import { isOwn, isRetained, ownerMark, ownershipOf } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';

/** What happens to the upstream of an object that is being deleted, decided without reading the gateway. */
export type DeletionPlan =
  /** No upstream is known. */
  | { readonly kind: 'nothing' }
  /** The upstream stays unchanged; orphan collection must not delete `id`. */
  | { readonly kind: 'left'; readonly why: string; readonly id: UpstreamId | undefined }
  | {
      readonly kind: 'ends';
      readonly id: UpstreamId;
      readonly policy: GatewayUpstreamSpec['deletionPolicy'];
    };

/** The deletion plan for `object`, which is being deleted and has the operator's finalizer. */
export function deletionPlanOf(
  { connections }: Pick<Snapshot, 'connections'>,
  object: GatewayUpstream,
): DeletionPlan {
  const { spec } = object;
  const connection = connections.get('', object.connection);
  if (connection === undefined) {
    return { kind: 'left', why: `GatewayConnection ${object.connection} does not exist`, id: undefined };
  }
  // A spec from a newer version may be unreadable; the status then contains the id that was written.
  const id =
    (connection.spec.ok ? wantedId(object, connection.spec.value.idPrefix) : undefined) ??
    object.status?.upstreamId;
  if (id === undefined) return { kind: 'nothing' };
  if (!spec.ok) return { kind: 'ends', id, policy: 'Orphan' };
  const { manage, syncPolicy, deletionPolicy } = spec.value;
  if (manage === 'Nodes') return { kind: 'left', why: 'manage is Nodes', id };
  if (syncPolicy === 'Observe') return { kind: 'left', why: 'syncPolicy is Observe', id };
  // Only Sync deletes.
  return { kind: 'ends', id, policy: syncPolicy === 'UpsertOnly' ? 'Orphan' : deletionPolicy };
}

/** The change in the gateway that a deletion requires. */
export type EndChange =
  | { readonly kind: 'none' }
  /** Marks the upstream as retained, so that orphan collection does not delete it. */
  | {
      readonly kind: 'mark';
      readonly observed: ObservedUpstream;
      readonly owner: OwnerMark;
    }
  | {
      readonly kind: 'delete';
      readonly observed: ObservedUpstream;
      readonly references: 'respect' | 'ignore';
    };

/** The change that the deletion plan of `object` requires, given `observed` in the gateway. */
export function planDeletion(
  { clusterId }: Pick<Snapshot, 'clusterId'>,
  object: GatewayUpstream,
  { policy }: Extract<DeletionPlan, { kind: 'ends' }>,
  observed: ObservedUpstream | undefined,
): EndChange {
  const owner = ownerOf(clusterId, object);
  const ownership = ownershipOf(observed, owner, createTimeSeconds(object));
  if (observed === undefined || !isOwn(ownership)) return { kind: 'none' };
  if (policy !== 'Orphan') {
    return { kind: 'delete', observed, references: policy === 'Force' ? 'ignore' : 'respect' };
  }
  return isRetained(observed)
    ? { kind: 'none' }
    : { kind: 'mark', observed, owner: ownerMark(owner, { retain: true }) };
}
