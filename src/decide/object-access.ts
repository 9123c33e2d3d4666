import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { Verdict } from '../model/verdict.ts';
import { accessProblem, adoptionProblem } from './access.ts';
import { wantedId } from './id-conflicts.ts';
import { createTimeSeconds, ownerOf } from './owner.ts';
import { isOwn, ownershipOf } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';

/** Why `object` may not use the connection; undefined if it may. */
export function accessOf(
  snapshot: Snapshot,
  object: GatewayUpstream,
  spec: GatewayUpstreamSpec,
  connection: GatewayConnectionSpec,
): Verdict | undefined {
  const { namespaces } = snapshot;
  const { section } = snapshot.vendorOf(connection.type);
  const named = { name: object.connection, spec: connection, section };
  return (
    accessProblem(
      spec,
      namespaces.get('', object.namespace) ?? { name: object.namespace, labels: undefined },
      named,
      (name) => namespaces.get('', name) !== undefined,
    ) ?? adoptionProblem(spec, named, () => hasUpstream(snapshot, object, connection))
  );
}

/** Whether the upstream that `object` wants is its own, or was when the gateway answered last. */
function hasUpstream(
  snapshot: Snapshot,
  object: GatewayUpstream,
  { idPrefix }: GatewayConnectionSpec,
): boolean {
  if (createTimeSeconds(object) !== undefined) return true;
  const held = snapshot.held(object.connection, wantedId(object, idPrefix) ?? '');
  return held.known && isOwn(ownershipOf(held.observed, ownerOf(snapshot.clusterId, object), undefined));
}
