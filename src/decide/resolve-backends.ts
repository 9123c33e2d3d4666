import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { Discovered } from '../model/discovered.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import { externalNameProblem } from './access.ts';
import { type KnownNodes, viaOf } from './addressing.ts';
import { allowedEndpoints, allowedPlaces } from './allowed-places.ts';
import { type BackendTarget, backendTargets, type ResolvedBackend } from './build-upstream.ts';
import { type HostPolicy, hostPolicy } from './host-policy.ts';
import { unlisted } from './listing.ts';
import { referenceRefused } from './references.ts';
import { registryRefused } from './registries.ts';
import type { Snapshot } from './snapshot.ts';

/** What decides about the backends of one object. */
interface Context {
  readonly snapshot: Snapshot;
  readonly object: GatewayUpstream;
  readonly spec: GatewayUpstreamSpec;
  readonly connection: GatewayConnectionSpec;
  readonly policy: HostPolicy;
}

export function resolveBackends(
  snapshot: Snapshot,
  object: GatewayUpstream,
  spec: GatewayUpstreamSpec,
  connection: GatewayConnectionSpec,
): readonly ResolvedBackend[] {
  const context: Context = { snapshot, object, spec, connection, policy: hostPolicy(connection) };
  return backendTargets(spec, object.namespace, connection.addressing).map((target): ResolvedBackend => {
    switch (target.kind) {
      case 'addresses':
        return { target };
      case 'service':
        return resolveService(context, target);
      case 'registry':
        return resolveRegistryService(context, target);
      default:
        return target satisfies never;
    }
  });
}

function resolveService(
  { snapshot, object, spec, connection, policy }: Context,
  target: Extract<BackendTarget, { kind: 'service' }>,
): ResolvedBackend {
  const { ref, addressing } = target;
  const isNamespace = (name: string) => snapshot.namespaces.get('', name) !== undefined;
  const refused = referenceRefused(snapshot, ref, object.namespace);
  if (refused !== undefined) return { target, found: refused };
  const found = snapshot.source.read(ref);
  if (found.state === 'external') {
    const named = { name: object.connection, spec: connection };
    return { target, found: externalNameProblem(ref, found.host, named, isNamespace) ?? found };
  }
  if (found.state !== 'known') return { target, found };
  const family = spec.endpoints?.family ?? found.preferredFamily;
  const isAllowed = (host: string) => policy.ofNode(host) === undefined;
  const via = viaOf(found, addressing, family, knownNodes(snapshot), isAllowed);
  if ('state' in via) return { target, found: via };
  return { target, ...allowedPlaces(ref, found, via, addressing, policy, isNamespace) };
}

/** The gateway reaches the instances of a registry at their own addresses. */
function resolveRegistryService(
  { snapshot, object, policy }: Context,
  target: Extract<BackendTarget, { kind: 'registry' }>,
): ResolvedBackend {
  const { ref } = target;
  const refused = registryRefused(snapshot, ref, object.namespace);
  if (refused !== undefined) return { target, found: refused };
  const found: Discovered = snapshot.source.read(ref);
  return found.state === 'known' ? { target, ...allowedEndpoints(found, policy) } : { target, found };
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
