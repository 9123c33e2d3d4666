import type { Addressing } from '../api/addressing.ts';
import {
  type Backend,
  type GatewayUpstreamSpec,
  MAX_EXCLUDED,
  MAX_WARNINGS,
  type WarningReason,
} from '../api/gateway-upstream.ts';
import { registryBackendOf } from '../api/registry-section.ts';
import type { CompleteAnswer, Discovered, UnknownAnswer } from '../model/discovered.ts';
import type { FoundKeyPair } from '../model/key-pair.ts';
import type { RegistryServiceRef, ServicePortRef } from '../model/reference.ts';
import type { Scheme, Upstream, UpstreamId, UpstreamNode } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import { type Placed, POD, place, type Via } from './addressing.ts';
import { chooseEndpoints, compareNodes, type Excluded, mergeNodes } from './nodes.ts';
import { protocolOf, SCHEME_DEFAULT, schemeOf, trafficOf } from './traffic.ts';
import { type WeighingProblem, weigh } from './weights.ts';

/** What a backend's reference leads to: a Service's port, a service of a registry, or places written in the spec. */
export type BackendTarget =
  | {
      readonly kind: 'service';
      readonly ref: ServicePortRef;
      readonly weight: number;
      readonly addressing: Addressing;
    }
  | {
      readonly kind: 'registry';
      readonly ref: RegistryServiceRef;
      readonly weight: number;
    }
  | {
      readonly kind: 'addresses';
      readonly addresses: NonNullable<Backend['addresses']>;
      readonly weight: number;
    };

/** A target whose endpoints a discovery source knows. */
export type ReferringTarget = Extract<BackendTarget, { kind: 'service' | 'registry' }>;

export type ResolvedBackend =
  | {
      readonly target: ReferringTarget;
      readonly found: Discovered | NotPermitted;
      /** The source's complete answer that `found` was made from; absent where there is none yet. */
      readonly answer?: CompleteAnswer;
      /** Why the source does not know now; `answer` is then its last complete one. */
      readonly outdated?: UnknownAnswer;
      /** What stands in the gateway for the endpoints that were found; absent: they themselves. */
      readonly via?: Via;
      /** Addresses that the connection does not allow in the gateway; they are in neither `found` nor `via`. */
      readonly notAllowed?: readonly Excluded[];
    }
  | { readonly target: Extract<BackendTarget, { kind: 'addresses' }> };

/** The reference leads where this object may not look. */
export interface NotPermitted {
  readonly state: 'notPermitted';
  readonly reason: 'RefNotPermitted' | 'StaticAddressesDenied' | 'AddressNotAllowed';
  readonly message: string;
}

/** What becomes of the endpoints behind all backends; each counts once per backend that leads to it. */
export interface EndpointCounts {
  readonly ready: number;
  /** Terminating and still serving: in use since none is ready, or kept without weight. */
  readonly draining: number;
  readonly excluded: number;
  /** Not wanted any more, and kept by the removal guard. */
  readonly held: number;
}

export interface Desired {
  readonly upstream: Upstream;
  readonly resolvedRefs: Verdict;
  readonly counts: EndpointCounts;
  /** The first of the endpoints that are left out and of the nodes that are held, in the order of nodes. */
  readonly excluded: readonly Excluded[];
  /**
   * - `write`: at least one backend leads somewhere.
   * - `onlyIfHeld`: none does: an upstream that exists drops to no nodes, none is created.
   * - `wait`: something is unknown or cannot be written: the gateway keeps what it has.
   * - `notYet`: the same, but only since the program has just begun.
   */
  readonly action: 'write' | 'onlyIfHeld' | 'wait' | 'notYet';
  /** What Ready says when everything is well. */
  readonly ready: Verdict;
  /** What is accepted but not as it was asked for. */
  readonly warnings: readonly Warning[];
}

/** An entry of `status.warnings`. Without counts, so that it changes only when the matter does. */
export interface Warning {
  readonly reason: WarningReason;
  /** For example `spec.backends`. */
  readonly field: string;
  readonly message: string;
}

const MAX_WEIGHT_SUM = 10_000;

/** APISIX allocates 160 points per unit of weight for a consistent hash, on every change. */
const MAX_WEIGHT_SUM_HASH = 1000;

/** What the backends of `spec`, an object of `namespace`, lead to. `addressing`: the connection's. */
export function backendTargets(
  spec: GatewayUpstreamSpec,
  namespace: string,
  addressing: Addressing = POD,
): readonly BackendTarget[] {
  const protocol = protocolOf(spec.scheme);
  return spec.backends.map((backend): BackendTarget => {
    const { serviceRef, serviceName, addresses, weight } = backend;
    const service = { kind: 'service', weight, addressing: backend.addressing ?? addressing } as const;
    if (serviceRef !== undefined) {
      return {
        ...service,
        ref: {
          source: 'Kubernetes',
          namespace: serviceRef.namespace ?? namespace,
          name: serviceRef.name,
          port: { by: 'servicePort', port: serviceRef.port },
          protocol,
        },
      };
    }
    if (serviceName !== undefined) {
      const [, refNamespace = '', name = '', port = ''] = /^([^/]*)\/([^:]*):(.*)$/.exec(serviceName) ?? [];
      return {
        ...service,
        ref: {
          source: 'Kubernetes',
          namespace: refNamespace,
          name,
          port: { by: 'endpointPort', port },
          protocol,
        },
      };
    }
    const registry = registryBackendOf(backend);
    if (registry !== undefined) return { kind: 'registry', ref: { source: 'Registry', ...registry }, weight };
    return { kind: 'addresses', addresses: addresses ?? [], weight };
  });
}

/** A node that stays although it is not wanted, and the backend that it counts for; undefined: none that is known. */
export interface HeldNode {
  readonly node: UpstreamNode;
  readonly backend: number | undefined;
}

/** What is not in a spec of the upstream that is made from it. */
export interface Identity {
  readonly id: UpstreamId;
  readonly labels: Readonly<Record<string, string>>;
  /** The section of the spec that the gateway reads. */
  readonly section: string;
}

/**
 * The upstream that the gateway should hold for `spec`. Pure and independent of the order of endpoints.
 * `clientCertificate`: what `spec.tls.clientCertificateSecretRef` leads to, where it is set and may be looked at.
 */
export function buildUpstream(
  spec: GatewayUpstreamSpec,
  identity: Identity,
  backends: readonly ResolvedBackend[],
  held: readonly HeldNode[] = [],
  clientCertificate?: FoundKeyPair,
): Desired {
  const traffic = trafficOf(
    spec,
    identity.section,
    clientCertificate?.state === 'known' ? clientCertificate.pair : undefined,
  );
  const scheme = spec.scheme ?? defaultScheme(backends);
  const maxSum = traffic.loadBalancing.type === 'ConsistentHash' ? MAX_WEIGHT_SUM_HASH : MAX_WEIGHT_SUM;
  const weighing = weighedNodes(spec, backends, held, maxSum);
  return {
    upstream: {
      id: identity.id,
      labels: { ...spec.labels, ...identity.labels },
      nodes: weighing.nodes,
      ...traffic,
      scheme: scheme ?? SCHEME_DEFAULT,
    },
    resolvedRefs: resolvedRefs(backends, clientCertificate),
    counts: weighing.counts,
    excluded: weighing.excluded.slice(0, MAX_EXCLUDED),
    action: actionFor(backends, clientCertificate),
    ready: readyVerdict(backends, weighing, scheme === undefined),
    warnings: weighing.problems
      .map((problem) => weighingWarning(problem, backends, maxSum))
      .slice(0, MAX_WARNINGS),
  };
}

function weighingWarning(
  problem: WeighingProblem,
  backends: readonly ResolvedBackend[],
  maxSum: number,
): Warning {
  switch (problem.kind) {
    case 'shares':
      return {
        reason: 'WeightsApproximate',
        field: 'spec.backends',
        message: `The backends get only approximately their shares: there are too many endpoints for exact weights within a sum of ${maxSum}. Use weights that differ less, or fewer endpoints`,
      };
    case 'units': {
      const isAddresses = backends[problem.group]?.target.kind === 'addresses';
      return {
        reason: 'WeightsApproximate',
        field: isAddresses ? `spec.backends[${problem.group}].addresses` : 'spec.endpoints.zones',
        message: `${isAddresses ? 'The addresses' : `The zones of spec.backends[${problem.group}]`} get only approximately their weights: there are too many endpoints for exact ones within a sum of ${maxSum}. Use weights that differ less, or fewer endpoints`,
      };
    }
    case 'sum':
      return {
        reason: 'WeightSumTooLarge',
        field: 'spec.backends',
        message:
          maxSum === MAX_WEIGHT_SUM_HASH
            ? `There are more than ${maxSum} endpoints, and each has a weight of at least 1. A consistent hash costs the gateway memory and time for each of them. Use another loadBalancing.type, or fewer endpoints`
            : `There are more than ${maxSum} endpoints, which is too many for one upstream. Use fewer endpoints, or an addressing mode with fewer nodes`,
      };
    default:
      return problem satisfies never;
  }
}

/** What the ports of the Services say that they speak; undefined where they do not agree. */
function defaultScheme(backends: readonly ResolvedBackend[]): Scheme | undefined {
  const said = new Set(
    backends.flatMap((backend) =>
      'found' in backend && backend.found.state === 'known'
        ? [schemeOf(backend.found.front?.port?.appProtocol)]
        : [],
    ),
  );
  const [scheme = SCHEME_DEFAULT] = said;
  return said.size > 1 ? undefined : scheme;
}

interface Weighing {
  readonly nodes: readonly UpstreamNode[];
  readonly counts: EndpointCounts;
  readonly excluded: readonly Excluded[];
  /** Of the backends that get traffic alone. */
  readonly weighted: Pick<Placed, 'ready' | 'draining'>;
  readonly problems: readonly WeighingProblem[];
}

function weighedNodes(
  spec: GatewayUpstreamSpec,
  backends: readonly ResolvedBackend[],
  held: readonly HeldNode[],
  maxSum: number,
): Weighing {
  const groups = backends.map((backend, index) => {
    const group = placedBy(backend, spec.endpoints);
    // Weighed with the others, so that every backend keeps its share.
    const stay = held.flatMap(({ node, backend: owner }) => (owner === index ? [{ ...node, unit: 1 }] : []));
    return { ...backend.target, ...group, places: [...group.places, ...stay] };
  });
  const { weights, problems } = weigh(
    groups.map(({ weight, places }) => ({ weight, units: places.map(({ unit }) => unit) })),
    maxSum,
  );
  const nodes = groups.flatMap(({ weight, places }, index) =>
    weight === 0
      ? []
      : places.map(({ host, port, priority }, position) => ({
          host,
          port,
          priority,
          weight: weights[index]?.[position] ?? 0,
        })),
  );
  const excluded = excludedOf(groups, held);
  // APISIX 3.18, measured: with every node at weight 0 it still balances over them; only no nodes stop the traffic. It
  // balances over each priority by itself.
  const carrying = new Set(nodes.flatMap(({ weight, priority }) => (weight > 0 ? [priority] : [])));
  return {
    nodes: mergeNodes([
      ...nodes.filter(({ priority }) => carrying.has(priority)),
      ...held.flatMap(({ node, backend }) => (backend === undefined ? [node] : [])),
    ]),
    counts: { ...sumUsed(groups), excluded: excluded.length, held: held.length },
    excluded: [...excluded, ...held.map(({ node }) => heldEntry(node))].sort(compareExcluded),
    weighted: sumUsed(groups.filter(carriesWeight)),
    problems,
  };
}

/** Whether anything behind `target` can ever get traffic. */
function carriesWeight(target: BackendTarget): boolean {
  return (
    target.weight > 0 && (target.kind !== 'addresses' || target.addresses.some(({ weight }) => weight > 0))
  );
}

function placedBy(backend: ResolvedBackend, endpoints: GatewayUpstreamSpec['endpoints']): Placed {
  if (!('found' in backend)) {
    const places = backend.target.addresses.map(({ host, port, weight, priority }) => ({
      host: host.toLowerCase(),
      port,
      unit: weight,
      priority,
    }));
    return { places, ready: places.length, draining: 0, excluded: [] };
  }
  const { found, via = { kind: 'endpoints' }, notAllowed = [] } = backend;
  if (found.state === 'external') {
    const { host, port } = found;
    return { places: [{ host, port, unit: 1, priority: 0 }], ready: 1, draining: 0, excluded: [] };
  }
  if (found.state !== 'known') return { places: [], ready: 0, draining: 0, excluded: notAllowed };
  const family = endpoints?.family ?? found.preferredFamily;
  const placed = place(chooseEndpoints(found.endpoints, family, endpoints?.drain), via, endpoints?.zones);
  return { ...placed, excluded: [...placed.excluded, ...notAllowed] };
}

function sumUsed(groups: readonly Placed[]): Pick<Placed, 'ready' | 'draining'> {
  const sum = { ready: 0, draining: 0 };
  for (const { ready, draining } of groups) {
    sum.ready += ready;
    sum.draining += draining;
  }
  return sum;
}

/** What the backends leave out, less what stays in the gateway all the same. */
function excludedOf(groups: readonly Placed[], held: readonly HeldNode[]): readonly Excluded[] {
  const ports = new Map<string, Set<number>>();
  for (const { node } of held) ports.set(node.host, (ports.get(node.host) ?? new Set()).add(node.port));
  return groups
    .flatMap(({ excluded }) => excluded)
    .filter(({ host, port }) => {
      const heldPorts = ports.get(host);
      return heldPorts === undefined || (port !== undefined && !heldPorts.has(port));
    });
}

function heldEntry({ host, port }: UpstreamNode): Excluded {
  return { host, port, reason: 'Held' };
}

/** Total, so that the same endpoints make the same list. */
function compareExcluded(a: Excluded, b: Excluded): number {
  const byPlace = compareNodes({ host: a.host, port: a.port ?? 0 }, { host: b.host, port: b.port ?? 0 });
  if (byPlace !== 0 || a.reason === b.reason) return byPlace;
  return a.reason < b.reason ? -1 : 1;
}

function actionFor(
  backends: readonly ResolvedBackend[],
  clientCertificate: FoundKeyPair | undefined,
): Desired['action'] {
  // Without its certificate the gateway would be refused by the nodes, and the one that it has cannot be read back.
  if (clientCertificate?.state === 'unusable') return 'wait';
  const found = backends.map(foundBy);
  const unknown = [...found, clientCertificate].filter((one) => one?.state === 'unknown');
  if (unknown.length > 0) return unknown.every(({ beginning }) => beginning) ? 'notYet' : 'wait';
  return found.some((one) => one === undefined || one.state === 'known' || one.state === 'external')
    ? 'write'
    : 'onlyIfHeld';
}

function resolvedRefs(
  backends: readonly ResolvedBackend[],
  clientCertificate: FoundKeyPair | undefined,
): Verdict {
  const problems = [
    ...backends.flatMap((backend) => [foundBy(backend), outdatedOf(backend)]),
    clientCertificate,
  ].flatMap(problemOf);
  const worst = problems.find(({ status }) => status === 'False') ?? problems[0];
  if (worst === undefined) {
    return { status: 'True', reason: 'ResolvedRefs', message: 'Every reference leads somewhere' };
  }
  return { ...worst, message: problems.map(({ message }) => message).join('; ') };
}

/** Undefined for a source that has only begun again: it answers in a moment. */
function outdatedOf(backend: ResolvedBackend): UnknownAnswer | undefined {
  const outdated = 'found' in backend ? backend.outdated : undefined;
  return outdated?.beginning === true ? undefined : outdated;
}

/** Undefined for a backend that refers to nothing. */
function foundBy(backend: ResolvedBackend) {
  return 'found' in backend ? backend.found : undefined;
}

function problemOf(found: ReturnType<typeof foundBy> | FoundKeyPair): readonly Verdict[] {
  switch (found?.state) {
    case undefined:
    case 'known':
    case 'external':
      return [];
    case 'unknown':
      return [{ status: 'Unknown', reason: 'SourceUnavailable', message: found.message }];
    case 'absent':
    case 'notPermitted':
    case 'unusable':
      return [{ status: 'False', reason: found.reason, message: found.message }];
    default:
      return found satisfies never;
  }
}

function readyVerdict(
  backends: readonly ResolvedBackend[],
  { weighted, counts, excluded, problems, nodes }: Weighing,
  schemesDiffer: boolean,
): Verdict {
  if (!backends.some(({ target }) => carriesWeight(target))) {
    return {
      status: 'True',
      reason: 'NoWeight',
      message: 'Every backend has weight 0, so the gateway has nothing to send traffic to: raise a weight',
    };
  }
  if (weighted.ready === 0) {
    return {
      status: 'True',
      reason: 'NoReadyEndpoints',
      message: noReadyMessage(weighted.draining, counts.held, excluded),
    };
  }
  if (nodes.length === 0) {
    return {
      status: 'True',
      reason: 'NoWeight',
      message:
        'Every endpoint is in a zone of weight 0, so the gateway has nothing to send traffic to: raise a weight in spec.endpoints.zones',
    };
  }
  const remarks = [
    'The gateway holds what runs in the cluster',
    ...(problems.length === 0
      ? []
      : [
          'the weights are only near what was asked for, since the endpoints are too many for exact ones (status.warnings)',
        ]),
    ...(schemesDiffer
      ? [
          'the ports of its Services name different protocols in appProtocol, so the scheme is HTTP: set spec.scheme',
        ]
      : []),
  ];
  return { status: 'True', reason: 'Ready', message: remarks.join('; ') };
}

function noReadyMessage(draining: number, held: number, excluded: readonly Excluded[]): string {
  if (draining > 0)
    return 'No endpoint is ready; those that still serve while they terminate get the traffic';
  if (held > 0) {
    return 'No endpoint is ready; those that the removal guard keeps get the traffic: look at the Pods behind the Service';
  }
  return excluded.some(({ reason }) => reason === 'AddressNotAllowed')
    ? 'No endpoint is ready and has an address that the GatewayConnection allows, so the gateway answers 503: look at status.excluded'
    : 'No endpoint is ready, so the gateway answers 503: look at the Pods behind the Service';
}
