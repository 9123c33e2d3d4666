import type { Backend, GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { Discovered, Protocol, Upstream, UpstreamId, UpstreamNode } from './model.ts';
import { chooseEndpoints, type EndpointCounts, mergeNodes } from './nodes.ts';
import type { Verdict } from './status.ts';
import { trafficOf } from './traffic.ts';
import { weigh } from './weights.ts';

/** What a backend's reference leads to: a Service's port, or places written in the spec. */
export type BackendTarget =
  | { readonly kind: 'service'; readonly ref: ServicePortRef; readonly weight: number }
  | {
      readonly kind: 'addresses';
      readonly addresses: NonNullable<Backend['addresses']>;
      readonly weight: number;
    };

/** One port of one Service. */
export interface ServicePortRef {
  readonly namespace: string;
  readonly name: string;
  readonly port: PortRef;
  readonly protocol: Protocol;
}

/**
 * - `servicePort`: one of the Service's own ports, by number or name.
 * - `endpointPort`: as APISIX's discovery reads it: a name is that of the endpoint port, a number that of an unnamed one.
 */
export type PortRef =
  | { readonly by: 'servicePort'; readonly port: number | string }
  | { readonly by: 'endpointPort'; readonly port: string };

export type ResolvedBackend =
  | {
      readonly target: Extract<BackendTarget, { kind: 'service' }>;
      readonly found: Discovered | NotPermitted;
    }
  | { readonly target: Extract<BackendTarget, { kind: 'addresses' }> };

/** The reference leads where this object may not look. */
export interface NotPermitted {
  readonly state: 'notPermitted';
  readonly message: string;
}

export interface Desired {
  readonly upstream: Upstream;
  readonly resolvedRefs: Verdict;
  readonly counts: EndpointCounts;
  /**
   * - `write`: at least one backend leads somewhere.
   * - `onlyIfHeld`: none does: an upstream that exists drops to no nodes, none is created.
   * - `wait`: something is unknown: the gateway keeps what it has.
   * - `notYet`: the same, but only since the program has just begun.
   */
  readonly action: 'write' | 'onlyIfHeld' | 'wait' | 'notYet';
  /** What Ready says when everything is well. */
  readonly ready: Verdict;
}

const MAX_WEIGHT_SUM = 10_000;
/** APISIX allocates 160 points per unit of weight for a consistent hash, on every change. */
const MAX_WEIGHT_SUM_HASH = 1000;

/** What the backends of `spec`, an object of `namespace`, lead to. */
export function backendTargets(spec: GatewayUpstreamSpec, namespace: string): readonly BackendTarget[] {
  const protocol: Protocol = spec.scheme === 'UDP' ? 'UDP' : 'TCP';
  return spec.backends.map(({ serviceRef, serviceName, addresses, weight }): BackendTarget => {
    if (serviceRef !== undefined) {
      return {
        kind: 'service',
        weight,
        ref: {
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
        kind: 'service',
        weight,
        ref: { namespace: refNamespace, name, port: { by: 'endpointPort', port }, protocol },
      };
    }
    return { kind: 'addresses', addresses: addresses ?? [], weight };
  });
}

/** A node that stays although it is not wanted, and the backend that it counts for; undefined: none that is known. */
export interface HeldNode {
  readonly node: UpstreamNode;
  readonly backend: number | undefined;
}

/** The upstream that the gateway should hold for `spec`. Pure and independent of the order of endpoints. */
export function buildDesired(
  spec: GatewayUpstreamSpec,
  identity: { readonly id: UpstreamId; readonly labels: Readonly<Record<string, string>> },
  backends: readonly ResolvedBackend[],
  held: readonly HeldNode[] = [],
): Desired {
  const traffic = trafficOf(spec, undefined);
  const weighing = weighedNodes(
    backends,
    held,
    traffic.loadBalancing.type === 'ConsistentHash' ? MAX_WEIGHT_SUM_HASH : MAX_WEIGHT_SUM,
  );
  return {
    upstream: {
      id: identity.id,
      labels: { ...spec.labels, ...identity.labels },
      nodes: weighing.nodes,
      ...traffic,
    },
    resolvedRefs: resolvedRefs(backends),
    counts: weighing.counts,
    action: actionFor(backends),
    ready: readyVerdict(backends, weighing),
  };
}

interface Weighing {
  readonly nodes: readonly UpstreamNode[];
  readonly counts: EndpointCounts;
  /** Of the backends that get traffic alone. */
  readonly weighted: EndpointCounts;
  readonly exact: boolean;
}

function weighedNodes(
  backends: readonly ResolvedBackend[],
  held: readonly HeldNode[],
  maxSum: number,
): Weighing {
  const groups = backends.map((backend, index) => {
    const { places, counts } = placesOf(backend);
    // Weighed with the others, so that every backend keeps its share.
    const stay = held.flatMap(({ node, backend: owner }) => (owner === index ? [{ ...node, unit: 1 }] : []));
    return { ...backend.target, places: [...places, ...stay], counts };
  });
  const { weights, exact } = weigh(
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
  // APISIX 3.18, measured: with every node at weight 0 it still balances over them; only no nodes stop the traffic.
  const stopped = nodes.every(({ weight }) => weight === 0);
  return {
    nodes: mergeNodes([
      ...(stopped ? [] : nodes),
      ...held.flatMap(({ node, backend }) => (backend === undefined ? [node] : [])),
    ]),
    counts: sumCounts(groups),
    weighted: sumCounts(groups.filter(carriesWeight)),
    exact,
  };
}

/** Whether anything behind `target` can ever get traffic. */
function carriesWeight(target: BackendTarget): boolean {
  return (
    target.weight > 0 && (target.kind === 'service' || target.addresses.some(({ weight }) => weight > 0))
  );
}

/** The places that a backend leads to, each with its weight within the backend. */
function placesOf(backend: ResolvedBackend): {
  readonly places: readonly (Omit<UpstreamNode, 'weight'> & { readonly unit: number })[];
  readonly counts: EndpointCounts;
} {
  if (!('found' in backend)) {
    const places = backend.target.addresses.map(({ host, port, weight, priority }) => ({
      host: host.toLowerCase(),
      port,
      unit: weight,
      priority,
    }));
    return { places, counts: { ready: places.length, draining: 0, excluded: 0 } };
  }
  const { found } = backend;
  if (found.state !== 'known') return { places: [], counts: { ready: 0, draining: 0, excluded: 0 } };
  const { endpoints, counts } = chooseEndpoints(found.endpoints, found.preferredFamily);
  return { places: endpoints.map((endpoint) => ({ ...endpoint, unit: 1, priority: 0 })), counts };
}

function sumCounts(groups: readonly { readonly counts: EndpointCounts }[]): EndpointCounts {
  const sum = { ready: 0, draining: 0, excluded: 0 };
  for (const { counts } of groups) {
    sum.ready += counts.ready;
    sum.draining += counts.draining;
    sum.excluded += counts.excluded;
  }
  return sum;
}

function actionFor(backends: readonly ResolvedBackend[]): Desired['action'] {
  const found = backends.map((backend) => ('found' in backend ? backend.found : undefined));
  const unknown = found.filter((one) => one?.state === 'unknown');
  if (unknown.length > 0) return unknown.every(({ beginning }) => beginning) ? 'notYet' : 'wait';
  return found.some((one) => one === undefined || one.state === 'known') ? 'write' : 'onlyIfHeld';
}

function resolvedRefs(backends: readonly ResolvedBackend[]): Verdict {
  const problems = backends.flatMap((backend): Verdict[] => {
    if (!('found' in backend)) return [];
    const { found } = backend;
    switch (found.state) {
      case 'known':
        return [];
      case 'unknown':
        return [{ status: 'Unknown', reason: 'SourceUnavailable', message: found.message }];
      case 'absent':
        return [{ status: 'False', reason: found.reason, message: found.message }];
      case 'notPermitted':
        return [{ status: 'False', reason: 'RefNotPermitted', message: found.message }];
      default:
        return found satisfies never;
    }
  });
  const worst = problems.find(({ status }) => status === 'False') ?? problems[0];
  if (worst === undefined) {
    return { status: 'True', reason: 'ResolvedRefs', message: 'Every backend leads somewhere' };
  }
  return { ...worst, message: problems.map(({ message }) => message).join('; ') };
}

function readyVerdict(backends: readonly ResolvedBackend[], { weighted, exact }: Weighing): Verdict {
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
      message:
        weighted.draining > 0
          ? 'No endpoint is ready; those that still serve while they terminate get the traffic'
          : 'No endpoint is ready, so the gateway answers 503: look at the Pods behind the Service',
    };
  }
  return {
    status: 'True',
    reason: 'Ready',
    message: exact
      ? 'The gateway holds what runs in the cluster'
      : 'The gateway holds what runs in the cluster; the weights of the backends are only near their shares, since the endpoints are too many for exact ones',
  };
}
