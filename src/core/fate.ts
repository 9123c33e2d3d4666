import type { ResolvedBackend } from './desired.ts';
import type { Fate } from './guard.ts';
import type { Endpoint, UpstreamNode } from './model.ts';

/** Why a node would go, and which backend it belongs to as far as that is known. */
export interface NodeFate {
  readonly fate: Fate;
  readonly backend: number | undefined;
}

/** How an address went that a backend does not list: see `Departure` of the sources. */
export type DepartureOf = (backend: number, address: string) => 'explained' | 'vanished' | 'unknown';

/** Why nodes would go that the gateway holds, by what their backends list now and what is remembered of them. */
export function createFateOf(
  backends: readonly ResolvedBackend[],
  departureOf: DepartureOf,
): (node: UpstreamNode) => NodeFate {
  const services = backends.flatMap((backend, index) => ('found' in backend ? [{ index, backend }] : []));
  const listed = services.map(({ index, backend: { found } }) => ({
    index,
    isKnown: found.state === 'known',
    byAddress: found.state === 'known' ? byAddress(found.endpoints) : new Map<string, Endpoint[]>(),
  }));
  const only = services.length === 1 ? services[0]?.index : undefined;

  return ({ host }) => {
    let explained = false;
    for (const { index, byAddress: endpoints } of listed) {
      const found = endpoints.get(host);
      if (found === undefined) continue;
      // Ready on another port, or as another family, is a change of the Service and no loss.
      if (found.some(({ terminating }) => terminating) || found.some(({ ready }) => ready)) explained = true;
      else return { fate: 'sick', backend: index };
    }
    if (explained) return { fate: 'explained', backend: undefined };
    let vanishedFrom: number | undefined;
    for (const { index, isKnown } of listed) {
      const departure = departureOf(index, host);
      // What belonged to a Service that is gone, or that this object may not look at any more, goes with it.
      if (departure === 'explained' || (departure === 'vanished' && !isKnown)) {
        return { fate: 'explained', backend: undefined };
      }
      if (departure === 'vanished') vanishedFrom = index;
    }
    if (vanishedFrom !== undefined) return { fate: 'vanished', backend: vanishedFrom };
    if (listed.some(({ isKnown }) => !isKnown)) return { fate: 'explained', backend: undefined };
    return { fate: 'vanished', backend: only };
  };
}

function byAddress(endpoints: readonly Endpoint[]): Map<string, Endpoint[]> {
  const found = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    const list = found.get(endpoint.address);
    if (list === undefined) found.set(endpoint.address, [endpoint]);
    else list.push(endpoint);
  }
  return found;
}
