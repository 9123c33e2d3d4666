import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { Verdict } from '../model/verdict.ts';
import { accessProblem, adoptionProblem, denialWithoutSpec } from './access.ts';
import { wantedId } from './id-conflicts.ts';
import { createTimeSeconds, ownerOf } from './owner.ts';
import { isOwn, ownershipOf } from './ownership.ts';
import type { NamespaceFacts } from './selectors.ts';
import type { Snapshot } from './snapshot.ts';

/** Why `object` may not use the connection; undefined if it may. */
export function accessOf(
  snapshot: Snapshot,
  object: GatewayUpstream,
  spec: GatewayUpstreamSpec,
  connection: GatewayConnectionSpec,
): Verdict | undefined {
  const { namespaces } = snapshot;
  const named = namedConnection(snapshot, object, connection);
  return (
    accessProblem(
      spec,
      namespaceOf(snapshot, object),
      named,
      (name) => namespaces.get('', name) !== undefined,
    ) ?? adoptionProblem(spec, named, () => hasUpstream(snapshot, object, connection))
  );
}

/** Why `object`, whose spec is invalid, may not use the connection; undefined if that depends on the spec. */
export function accessWithoutSpec(
  snapshot: Snapshot,
  object: GatewayUpstream,
  connection: GatewayConnectionSpec,
): Verdict | undefined {
  const hasOverrides = !object.spec.ok && object.spec.hasInvalidOverrides === true;
  const named = namedConnection(snapshot, object, connection);
  return denialWithoutSpec(namespaceOf(snapshot, object), named, hasOverrides);
}

function namedConnection(
  { vendorOf }: Snapshot,
  { connection: name }: GatewayUpstream,
  spec: GatewayConnectionSpec,
) {
  return { name, spec, section: vendorOf(spec.type).section };
}

function namespaceOf({ namespaces }: Snapshot, { namespace: name }: GatewayUpstream): NamespaceFacts {
  return namespaces.get('', name) ?? { name, labels: undefined };
}

/** Whether `object` owns its upstream, or owned it when the gateway last answered. */
function hasUpstream(
  snapshot: Snapshot,
  object: GatewayUpstream,
  { idPrefix }: GatewayConnectionSpec,
): boolean {
  if (createTimeSeconds(object) !== undefined) return true;
  const content = snapshot.contentOf(object.connection, wantedId(object, idPrefix) ?? '');
  return (
    content.known && isOwn(ownershipOf(content.observed, ownerOf(snapshot.clusterId, object), undefined))
  );
}
