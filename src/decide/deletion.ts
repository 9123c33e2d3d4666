import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { OwnerMark } from '../model/ownership.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import { wantedId } from './id-conflicts.ts';
import { createTimeSeconds, ownerOf } from './owner.ts';
import { isOwn, isRetained, ownerMark, ownershipOf } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';

/** What an object that is being deleted wants done with its upstream, before the gateway is looked at. */
export type DeletionPlan =
  /** It never had one that is known of. */
  | { readonly kind: 'nothing' }
  /** The upstream stays as it is; no sweep may touch `id`. */
  | { readonly kind: 'left'; readonly why: string; readonly id: UpstreamId | undefined }
  | {
      readonly kind: 'ends';
      readonly id: UpstreamId;
      readonly policy: GatewayUpstreamSpec['deletionPolicy'];
    };

/** What `object`, which is being deleted and has our finalizer, wants done with its upstream. */
export function deletionPlanOf(
  { connections }: Pick<Snapshot, 'connections'>,
  object: GatewayUpstream,
): DeletionPlan {
  const { spec } = object;
  const connection = connections.get('', object.connection);
  if (connection === undefined) {
    return { kind: 'left', why: `GatewayConnection ${object.connection} does not exist`, id: undefined };
  }
  // Written by a version whose spec this program cannot read: what the status says of it is what was written.
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

/** What has to be done in a gateway so that an object can go. */
export type EndChange =
  | { readonly kind: 'none' }
  /** The upstream stays, and its mark says so from now on, so that it is never taken for an orphan to delete. */
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

/** What `ending` of `object` means where the gateway holds `observed`. */
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
