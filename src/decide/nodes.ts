import type { ExcludedReason } from '../api/gateway-upstream-status.ts';
import type { Endpoint, IpFamily } from '../model/endpoint.ts';
import type { UpstreamNode } from '../model/upstream.ts';

/** An endpoint that is left out, or a node that is held. */
export interface Excluded {
  readonly host: string;
  /** Absent where it is not known. */
  readonly port?: number;
  readonly reason: ExcludedReason;
}

/** An endpoint that is in the gateway. */
export interface ChosenEndpoint {
  readonly host: string;
  readonly port: number;
  /** False: it terminates while others are ready, and is kept without weight. */
  readonly carriesTraffic: boolean;
  readonly node?: string;
  readonly zone?: string;
}

/** What becomes of the endpoints of one reference: each of them is in exactly one of `endpoints` and `excluded`. */
export interface ChosenEndpoints {
  /** Each address and port once, sorted. */
  readonly endpoints: readonly ChosenEndpoint[];
  readonly ready: number;
  /** Terminating and still serving: they get the traffic where none is ready, else they have weight 0. */
  readonly draining: number;
  /** In no order. */
  readonly excluded: readonly Excluded[];
}

/** What is done with endpoints that terminate and still serve while others are ready. */
export type Drain = 'Remove' | 'ZeroWeight';

const READY = 3;
const DRAINING = 2;

/** Better states of one address and port win: ready, then serving and terminating, then what may still become ready. */
function rank({ ready, serving, terminating }: Endpoint): number {
  if (ready) return READY;
  if (!terminating) return 1;
  return serving ? DRAINING : 0;
}

/** Each address and port once, in its best state; an address without the port only where it has it nowhere else. */
function distinct(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const best = new Map<string, Endpoint>();
  const withPort = new Set<string>();
  for (const endpoint of endpoints) {
    const { address, port } = endpoint;
    if (port !== undefined) withPort.add(address);
    const key = `${address} ${port}`;
    const known = best.get(key);
    if (known === undefined || rank(endpoint) > rank(known)) best.set(key, endpoint);
  }
  return [...best.values()].filter(({ address, port }) => port !== undefined || !withPort.has(address));
}

/**
 * The endpoints that have no address in `family`. Where a slice does not say whose an address is, that is known only if
 * that family has no address at all.
 */
function ofWrongFamily(endpoints: readonly Endpoint[], family: IpFamily): readonly Endpoint[] {
  const ofFamily = endpoints.filter((endpoint) => endpoint.family === family);
  const targets = new Set(ofFamily.map(({ target }) => target));
  return endpoints.filter(
    (endpoint) =>
      endpoint.family !== family &&
      (endpoint.target === undefined ? ofFamily.length === 0 : !targets.has(endpoint.target)),
  );
}

/**
 * The endpoints of one Service that get traffic: of `family`, with the port; those that are ready, or, when none of
 * the whole Service is, those that serve while they terminate (KEP-1669).
 */
export function chooseEndpoints(
  endpoints: readonly Endpoint[],
  family: IpFamily,
  drain: Drain = 'Remove',
): ChosenEndpoints {
  const ofFamily = distinct(endpoints.filter((endpoint) => endpoint.family === family));
  const isReady = ofFamily.some(({ port, ready }) => port !== undefined && ready);
  const excluded = distinct(ofWrongFamily(endpoints, family)).map((endpoint) =>
    leftOut(endpoint, 'WrongFamily'),
  );
  const used: ChosenEndpoint[] = [];
  for (const endpoint of ofFamily) {
    const { address: host, port, node, zone } = endpoint;
    const state = rank(endpoint);
    const carriesTraffic = state === (isReady ? READY : DRAINING);
    if (port === undefined) excluded.push(leftOut(endpoint, 'PortMissing'));
    else if (carriesTraffic || (state === DRAINING && drain === 'ZeroWeight')) {
      used.push({
        host,
        port,
        carriesTraffic,
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

/** The order of nodes everywhere: by host, then by port. */
export function compareNodes(
  a: { readonly host: string; readonly port: number },
  b: { readonly host: string; readonly port: number },
): number {
  if (a.host !== b.host) return a.host < b.host ? -1 : 1;
  return a.port - b.port;
}

/** One node per host and port, weights summed and the highest priority kept, in order. */
export function mergeNodes(nodes: readonly UpstreamNode[]): readonly UpstreamNode[] {
  const merged = new Map<string, UpstreamNode>();
  for (const node of nodes) {
    const key = `${node.host} ${node.port}`;
    const known = merged.get(key);
    merged.set(
      key,
      known === undefined
        ? node
        : {
            ...known,
            weight: known.weight + node.weight,
            priority: Math.max(known.priority, node.priority),
          },
    );
  }
  return [...merged.values()].sort(compareNodes);
}
