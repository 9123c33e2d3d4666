import type { ExcludedReason } from '../api/gateway-upstream-status.ts';
import type { Endpoint, IpFamily } from '../model/endpoint.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import { mergedMark } from './node-marks.ts';

/** An excluded endpoint or a guarded node. */
export interface Excluded {
  readonly host: string;
  /** Absent if unknown. */
  readonly port?: number;
  readonly reason: ExcludedReason;
}

/** An endpoint to write to the gateway. */
export interface ChosenEndpoint {
  readonly host: string;
  readonly port: number;
  /** False for a terminating endpoint that is kept with weight 0 while others are ready. */
  readonly carriesTraffic: boolean;
  /** Its weight relative to the other endpoints of its backend, at least 1; absent: all are equal. */
  readonly unit?: number;
  readonly node?: string;
  readonly zone?: string;
}

/** The endpoints of one reference; each is in exactly one of `endpoints` and `excluded`. */
export interface ChosenEndpoints {
  /** Sorted, without duplicates of an address and port. */
  readonly endpoints: readonly ChosenEndpoint[];
  readonly ready: number;
  /** Serving while terminating: they receive traffic if no endpoint is ready, otherwise they have weight 0. */
  readonly draining: number;
  /** Unordered. */
  readonly excluded: readonly Excluded[];
}

/**
 * What an entry of a source stands for. `address`: one of several entries for the same endpoint, as in EndpointSlices.
 * `instance`: an endpoint of its own, as in registries.
 */
export type EntryKind = 'address' | 'instance';

/** How serving terminating endpoints are handled while others are ready. */
export type Drain = 'Remove' | 'ZeroWeight';

const READY = 3;
const DRAINING = 2;

/** Ranks the states of one address and port: ready, serving while terminating, not ready, terminating. */
function rank({ ready, serving, terminating }: Endpoint): number {
  if (ready) return READY;
  if (!terminating) return 1;
  return serving ? DRAINING : 0;
}

/**
 * One endpoint per address and port, in its best state. An entry without the port is dropped if the address has the port
 * elsewhere, unless it is an instance of its own.
 */
function distinct(endpoints: readonly Endpoint[], kind: EntryKind): readonly Endpoint[] {
  const best = new Map<string, Endpoint>();
  const withPort = new Set<string>();
  for (const endpoint of endpoints) {
    const { address, port } = endpoint;
    if (port !== undefined) withPort.add(address);
    const key = `${address} ${port}`;
    const known = best.get(key);
    if (known === undefined || rank(endpoint) > rank(known)) best.set(key, endpoint);
  }
  return [...best.values()].filter(
    ({ address, port }) => kind === 'instance' || port !== undefined || !withPort.has(address),
  );
}

/** A name has no family: the gateway resolves it. */
function isOfFamily(endpoint: Endpoint, family: IpFamily | undefined): boolean {
  return family === undefined || endpoint.family === undefined || endpoint.family === family;
}

/**
 * The endpoints without an address in `family`. If a slice has no targetRef, an endpoint counts only if the family has no
 * address at all.
 */
function ofWrongFamily(
  endpoints: readonly Endpoint[],
  family: IpFamily | undefined,
  kind: EntryKind,
): readonly Endpoint[] {
  if (kind === 'instance') return endpoints.filter((endpoint) => !isOfFamily(endpoint, family));
  const ofFamily = endpoints.filter((endpoint) => isOfFamily(endpoint, family));
  const targets = new Set(ofFamily.map(({ target }) => target));
  return endpoints.filter(
    (endpoint) =>
      !isOfFamily(endpoint, family) &&
      (endpoint.target === undefined ? ofFamily.length === 0 : !targets.has(endpoint.target)),
  );
}

/**
 * The endpoints of one Service that receive traffic. Family and port are selected first. If no endpoint of the Service is
 * ready, endpoints that serve while terminating are used (KEP-1669). Without `family`, addresses of every family are used.
 */
export function chooseEndpoints(
  endpoints: readonly Endpoint[],
  family: IpFamily | undefined,
  drain: Drain = 'Remove',
  kind: EntryKind = 'address',
): ChosenEndpoints {
  const ofFamily = distinct(
    endpoints.filter((endpoint) => isOfFamily(endpoint, family)),
    kind,
  );
  const isReady = ofFamily.some(({ port, ready }) => port !== undefined && ready);
  const excluded = distinct(ofWrongFamily(endpoints, family, kind), kind).map((endpoint) =>
    leftOut(endpoint, 'WrongFamily'),
  );
  const used: ChosenEndpoint[] = [];
  for (const endpoint of ofFamily) {
    const { address: host, port, node, zone, weight: unit } = endpoint;
    const state = rank(endpoint);
    const carriesTraffic = state === (isReady ? READY : DRAINING);
    if (port === undefined) excluded.push(leftOut(endpoint, 'PortMissing'));
    else if (carriesTraffic || (state === DRAINING && drain === 'ZeroWeight')) {
      used.push({
        host,
        port,
        carriesTraffic,
        ...(unit === undefined ? {} : { unit }),
        ...(node === undefined ? {} : { node }),
        ...(zone === undefined ? {} : { zone }),
      });
    } else excluded.push(leftOut(endpoint, endpoint.terminating ? 'Terminating' : 'NotReady'));
  }
  const ready = isReady ? used.filter(({ carriesTraffic }) => carriesTraffic).length : 0;
  return { endpoints: used.sort(compareNodes), ready, draining: used.length - ready, excluded };
}

function leftOut({ address, port }: Endpoint, reason: ExcludedReason): Excluded {
  return { host: address, ...(port === undefined ? {} : { port }), reason };
}

/** The node order: by host, then by port. */
export function compareNodes(
  a: { readonly host: string; readonly port: number },
  b: { readonly host: string; readonly port: number },
): number {
  if (a.host !== b.host) return a.host < b.host ? -1 : 1;
  return a.port - b.port;
}

/** One node per host and port, with summed weights, the marks of all backends and the highest priority, sorted. */
export function mergeNodes(nodes: readonly UpstreamNode[]): readonly UpstreamNode[] {
  const merged = new Map<string, UpstreamNode>();
  for (const node of nodes) {
    const key = `${node.host} ${node.port}`;
    const known = merged.get(key);
    merged.set(key, known === undefined ? node : merge(known, node));
  }
  return [...merged.values()].sort(compareNodes);
}

function merge(known: UpstreamNode, node: UpstreamNode): UpstreamNode {
  const backendMark = mergedMark(known, node);
  return {
    host: known.host,
    port: known.port,
    weight: known.weight + node.weight,
    priority: Math.max(known.priority, node.priority),
    ...(backendMark === undefined ? {} : { backendMark }),
  };
}
