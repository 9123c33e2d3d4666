import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import { externalNameProblem } from './access.ts';
import { type KnownNodes, viaOf } from './addressing.ts';
import { allowedPlaces } from './allowed-places.ts';
import { backendTargets, type ResolvedBackend } from './backends.ts';
import { hostPolicy } from './host-policy.ts';
import { unlisted } from './listing.ts';
import { referenceRefused } from './references.ts';
import type { Snapshot } from './snapshot.ts';

export function resolveBackends(
  snapshot: Snapshot,
  object: GatewayUpstream,
  spec: GatewayUpstreamSpec,
  connection: GatewayConnectionSpec,
): readonly ResolvedBackend[] {
  const isNamespace = (name: string) => snapshot.namespaces.get('', name) !== undefined;
  const policy = hostPolicy(connection);
  return backendTargets(spec, object.namespace, connection.addressing).map((target): ResolvedBackend => {
    if (target.kind === 'addresses') return { target };
    const { ref, addressing } = target;
    const refused = referenceRefused(snapshot, ref, object.namespace);
    if (refused !== undefined) return { target, found: refused };
    const found = snapshot.source.read(ref);
    if (found.state === 'external') {
      const named = { name: object.connection, spec: connection };
      return { target, found: externalNameProblem(ref, found.host, named, isNamespace) ?? found };
    }
    if (found.state !== 'known') return { target, found };
    const family = spec.endpoints?.family ?? found.preferredFamily;
    const via = viaOf(
      found,
      addressing,
      family,
      knownNodes(snapshot),
      (host) => policy.ofNode(host) === undefined,
    );
    if ('state' in via) return { target, found: via };
    return { target, ...allowedPlaces(ref, found, via, addressing, policy, isNamespace) };
  });
}

function knownNodes({ nodes }: Snapshot): KnownNodes {
  if (nodes === undefined) {
    return {
      kind: 'unknown',
      beginning: false,
      message:
        "Addressing mode Node needs the nodes, which the operator does not watch: set watchNodes to true in its configuration (config.watchNodes in the chart's values), or choose another mode",
    };
  }
  const unknown = unlisted('Nodes', nodes);
  if (unknown === undefined) return { kind: 'listed', nodes: nodes.list() };
  const { beginning, message } = unknown;
  return { kind: 'unknown', beginning, message };
}
