import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { Discovered } from '../model/discovered.ts';
import { keyOf } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { RegistryServiceRef } from '../model/reference.ts';
import { externalNameProblem } from './access.ts';
import { type KnownNodes, viaOf } from './addressing.ts';
import { allowedPlaces } from './allowed-places.ts';
import { type BackendTarget, backendTargets, type ResolvedBackend } from './backends.ts';
import { type HostPolicy, hostPolicy } from './host-policy.ts';
import { withinInstanceLimit } from './instance-limit.ts';
import { completeAnswer, type LastAnswer } from './last-answers.ts';
import { unlisted } from './listing.ts';
import { referenceDenied } from './references.ts';
import { registryAccess, registryUser } from './registries.ts';
import { chooseInstances } from './registry-instances.ts';
import type { Snapshot } from './snapshot.ts';

/** The input for resolving the backends of one object. */
interface Context {
  readonly snapshot: Snapshot;
  readonly object: GatewayUpstream;
  readonly spec: GatewayUpstreamSpec;
  readonly connection: GatewayConnectionSpec;
  readonly policy: HostPolicy;
  readonly lastAnswers: readonly LastAnswer[];
  readonly readRegistry: (ref: RegistryServiceRef) => Discovered;
}

export function resolveBackends(
  snapshot: Snapshot,
  object: GatewayUpstream,
  spec: GatewayUpstreamSpec,
  connection: GatewayConnectionSpec,
): readonly ResolvedBackend[] {
  const targets = backendTargets(spec, object.namespace, connection.addressing);
  const lastAnswers = snapshot.lastAnswers?.(keyOf(object)) ?? [];
  const context: Context = {
    snapshot,
    object,
    spec,
    connection,
    policy: hostPolicy(connection),
    lastAnswers,
    readRegistry: withinInstanceLimit((ref) => snapshot.source.read(ref), targets, lastAnswers),
  };
  return targets.map((target): ResolvedBackend => {
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
  context: Context,
  target: Extract<BackendTarget, { kind: 'service' }>,
): ResolvedBackend {
  const { snapshot, object, spec, connection, policy } = context;
  const { ref, addressing } = target;
  const isNamespace = (name: string) => snapshot.namespaces.get('', name) !== undefined;
  const denied = referenceDenied(snapshot, ref, object.namespace);
  if (denied?.state === 'notPermitted') return { target, found: denied };
  const answered = completeAnswer(ref, denied ?? snapshot.source.read(ref), context.lastAnswers);
  if ('state' in answered) return { target, found: answered };
  const { answer: found } = answered;
  if (found.state === 'external') {
    const named = { name: object.connection, spec: connection };
    return { target, ...answered, found: externalNameProblem(ref, found.host, named, isNamespace) ?? found };
  }
  if (found.state !== 'known') return { target, ...answered, found };
  const family = spec.endpoints?.family ?? found.preferredFamily ?? 'IPv4';
  const isAllowed = (host: string) => policy.ofNode(host) === undefined;
  const via = viaOf(found, addressing, family, knownNodes(snapshot), isAllowed);
  if ('state' in via) return { target, ...answered, found: via };
  return { target, ...answered, ...allowedPlaces(ref, found, via, addressing, policy, isNamespace) };
}

/** Registry instances are always reached at their own addresses; addressing modes apply only to Services. */
function resolveRegistryService(
  { snapshot, object, connection, policy, lastAnswers, readRegistry }: Context,
  target: Extract<BackendTarget, { kind: 'registry' }>,
): ResolvedBackend {
  const { ref, choice } = target;
  const user = registryUser(object.namespace, {
    name: object.connection,
    spec: { ok: true, value: connection },
  });
  const access = registryAccess(snapshot, ref, user);
  if (access.state === 'notPermitted') return { target, found: access };
  const isPermitted = access.state === 'permitted';
  const read = isPermitted ? readRegistry(ref) : access;
  // Like every permission, it is not held: the nodes of the last answer must not stay.
  if (read.state === 'unknown' && read.reason === 'RegistryServiceNotAllowed') {
    const { reason, message } = read;
    return { target, found: { state: 'notPermitted', reason, message } };
  }
  const answered = completeAnswer(ref, read, lastAnswers);
  if ('state' in answered) return { target, found: answered };
  const { answer: found } = answered;
  if (found.state !== 'known') return { target, ...answered, found };
  const registryAddresses = isPermitted ? access.registry.addresses : answered.registryAddresses;
  const rules = {
    registry: registryAddresses,
    connection: policy,
    isNamespace: (name: string) => snapshot.namespaces.get('', name) !== undefined,
  };
  return {
    target,
    answer: found,
    ...(answered.outdated === undefined ? {} : { outdated: answered.outdated }),
    ...(registryAddresses === undefined ? {} : { registryAddresses }),
    ...chooseInstances(found, choice, rules),
  };
}

function knownNodes({ nodes }: Snapshot): KnownNodes {
  if (nodes === undefined) {
    return {
      kind: 'unknown',
      beginning: false,
      message:
        "Addressing mode Node requires the Nodes of the cluster, which the operator does not watch: set watchNodes to true in the operator's configuration (config.watchNodes in the chart), or choose another mode",
    };
  }
  const unknown = unlisted('Nodes', nodes);
  if (unknown === undefined) return { kind: 'listed', nodes: nodes.list() };
  const { beginning, message } = unknown;
  return { kind: 'unknown', beginning, message };
}
