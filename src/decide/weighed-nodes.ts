import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import { type Placed, place } from './addressing.ts';
import type { BackendMarks } from './backend-marks.ts';
import { type BackendTarget, carriesWeight, type ResolvedBackend } from './backends.ts';
import type { EndpointCounts, Warning } from './desired.ts';
import { chooseEndpoints, compareNodes, type Excluded, mergeNodes } from './nodes.ts';
import { type WeighingProblem, weigh } from './weights.ts';

/** A guarded node, and the index of its backend; undefined if the backend is not known. */
export interface GuardedNode {
  readonly node: UpstreamNode;
  readonly backend: number | undefined;
  /** Its weight relative to the endpoints of its backend. */
  readonly unit: number;
}

export const MAX_WEIGHT_SUM = 10_000;

/** For a consistent hash, APISIX allocates 160 points per unit of weight on every change. */
export const MAX_WEIGHT_SUM_HASH = 1000;

export interface Weighing {
  readonly nodes: readonly UpstreamNode[];
  readonly counts: EndpointCounts;
  readonly excluded: readonly Excluded[];
  /** The counts of only the backends that receive traffic. */
  readonly weighted: Pick<Placed, 'ready' | 'draining'>;
  readonly problems: readonly WeighingProblem[];
}

export function weighedNodes(
  spec: GatewayUpstreamSpec,
  backends: readonly ResolvedBackend[],
  held: readonly GuardedNode[],
  maxSum: number,
  marks?: BackendMarks,
): Weighing {
  const groups = backends.map((backend, index) => {
    const group = placedBy(backend, spec.endpoints);
    // Guarded nodes are weighed with the others, so that every backend keeps its share.
    const stay = held.flatMap(({ node, backend: owner, unit }) =>
      owner === index ? [{ ...node, unit }] : [],
    );
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
          ...(marks?.[index] === undefined ? {} : { backendMark: marks[index] }),
        })),
  );
  const excluded = excludedOf(groups, held);
  // Measured with APISIX 3.18: it still balances over nodes if all weights are 0, so those nodes are omitted to stop the
  // traffic. APISIX balances over each priority separately.
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

/** The places of a backend, without those that the removal guard adds. */
export function placedBy(backend: ResolvedBackend, endpoints: GatewayUpstreamSpec['endpoints']): Placed {
  if (!('found' in backend)) {
    const places = backend.target.addresses.map(({ host, port, weight, priority }) => ({
      host: host.toLowerCase(),
      port,
      unit: weight,
      priority,
    }));
    return { places, ready: places.length, draining: 0, excluded: [] };
  }
  const { found, recognized, via = { kind: 'endpoints' }, leftOut = [] } = backend;
  if (recognized !== undefined) return placedAsMarked(recognized);
  if (found.state === 'external') {
    const { host, port } = found;
    return { places: [{ host, port, unit: 1, priority: 0 }], ready: 1, draining: 0, excluded: [] };
  }
  if (found.state !== 'known') return { places: [], ready: 0, draining: 0, excluded: leftOut };
  const family = endpoints?.family ?? found.preferredFamily;
  const kind = backend.target.kind === 'registry' ? 'instance' : 'address';
  const placed = place(
    chooseEndpoints(found.endpoints, family, endpoints?.drain, kind),
    via,
    endpoints?.zones,
  );
  return { ...placed, excluded: [...placed.excluded, ...leftOut] };
}

/** The nodes of a backend that has not answered yet, with their weights in the gateway. Unready ones are not known. */
function placedAsMarked(nodes: readonly UpstreamNode[]): Placed {
  const places = nodes.map(({ host, port, weight, priority }) => ({ host, port, unit: weight, priority }));
  const ready = nodes.filter(({ weight }) => weight > 0).length;
  return { places, ready, draining: nodes.length - ready, excluded: [] };
}

function sumUsed(groups: readonly Placed[]): Pick<Placed, 'ready' | 'draining'> {
  const sum = { ready: 0, draining: 0 };
  for (const { ready, draining } of groups) {
    sum.ready += ready;
    sum.draining += draining;
  }
  return sum;
}

/** The excluded endpoints of the backends, without those that the removal guard keeps in the gateway. */
function excludedOf(groups: readonly Placed[], held: readonly GuardedNode[]): readonly Excluded[] {
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

/** A total order, so that the same endpoints always make the same list. */
function compareExcluded(a: Excluded, b: Excluded): number {
  const byPlace = compareNodes({ host: a.host, port: a.port ?? 0 }, { host: b.host, port: b.port ?? 0 });
  if (byPlace !== 0 || a.reason === b.reason) return byPlace;
  return a.reason < b.reason ? -1 : 1;
}

export function weighingWarning(
  problem: WeighingProblem,
  backends: readonly ResolvedBackend[],
  maxSum: number,
): Warning {
  switch (problem.kind) {
    case 'shares':
      return {
        reason: 'WeightsApproximate',
        field: 'spec.backends',
        message: `The backends receive their shares only approximately: exact weights for this many endpoints exceed the total of ${maxSum}. Use weights that differ less, or fewer endpoints`,
      };
    case 'units': {
      const { field, what } = weighedThing(
        backends[problem.group]?.target.kind,
        `spec.backends[${problem.group}]`,
      );
      return {
        reason: 'WeightsApproximate',
        field,
        message: `${what} receive their weights only approximately: exact weights for this many endpoints exceed the total of ${maxSum}. Use weights that differ less, or fewer endpoints`,
      };
    }
    case 'sum':
      return {
        reason: 'WeightSumTooLarge',
        field: 'spec.backends',
        message:
          maxSum === MAX_WEIGHT_SUM_HASH
            ? `The upstream has more than ${maxSum} endpoints. With ConsistentHash, each endpoint costs the gateway memory and time. Use another loadBalancing.type, or fewer endpoints`
            : `The upstream has more than ${maxSum} endpoints, which is too many for one upstream. Use fewer endpoints, or an addressing mode with fewer nodes`,
      };
    default:
      return problem satisfies never;
  }
}

/** What has weights within a backend of this kind, and the field that sets them. */
function weighedThing(
  kind: BackendTarget['kind'] | undefined,
  backend: string,
): { readonly field: string; readonly what: string } {
  switch (kind) {
    case 'addresses':
      return { field: `${backend}.addresses`, what: 'The addresses' };
    case 'registry':
      return { field: backend, what: `The instances of ${backend}` };
    case 'service':
    case undefined:
      return { field: 'spec.endpoints.zones', what: `The zones of ${backend}` };
    default:
      return kind satisfies never;
  }
}
