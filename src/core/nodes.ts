import type { Endpoint, IpFamily, UpstreamNode } from './model.ts';

/** How many endpoints of one reference are in which state. */
export interface EndpointCounts {
  readonly ready: number;
  /** Terminating and still serving. */
  readonly draining: number;
  /** Not ready, of another family only, or without the port. */
  readonly excluded: number;
}

export interface ChosenEndpoints {
  /** The endpoints that get traffic, each address and port once, sorted. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[];
  readonly counts: EndpointCounts;
}

/** Better states of one address and port win: ready, then serving and terminating, then the rest. */
function rank(endpoint: Endpoint): number {
  if (endpoint.ready) return 2;
  return endpoint.serving && endpoint.terminating ? 1 : 0;
}

/**
 * The endpoints of one Service that get traffic: of `family`, with the port; those that are ready, or, when none of
 * the whole Service is, those that serve while they terminate (KEP-1669).
 */
export function chooseEndpoints(endpoints: readonly Endpoint[], family: IpFamily): ChosenEndpoints {
  const best = new Map<string, Endpoint & { readonly port: number }>();
  const withoutPort = new Set<string>();
  const otherFamily = new Set<string>();
  for (const endpoint of endpoints) {
    const { port } = endpoint;
    if (endpoint.family !== family) {
      otherFamily.add(endpoint.address);
      continue;
    }
    if (port === undefined) {
      withoutPort.add(endpoint.address);
      continue;
    }
    const key = `${endpoint.address} ${port}`;
    const known = best.get(key);
    if (known === undefined || rank(endpoint) > rank(known)) best.set(key, { ...endpoint, port });
  }
  const all = [...best.values()];
  for (const endpoint of all) withoutPort.delete(endpoint.address);
  const ready = all.filter((endpoint) => endpoint.ready);
  const draining = all.filter((endpoint) => !endpoint.ready && endpoint.serving && endpoint.terminating);
  // A dual-stack Pod is listed once per family: only what has no address in the chosen family is left out by it.
  const wrongFamily = all.length + withoutPort.size === 0 ? otherFamily.size : 0;
  return {
    endpoints: (ready.length > 0 ? ready : draining)
      .map(({ address, port }) => ({ host: address, port }))
      .sort(compareNodes),
    counts: {
      ready: ready.length,
      draining: draining.length,
      excluded: all.length - ready.length - draining.length + withoutPort.size + wrongFamily,
    },
  };
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
