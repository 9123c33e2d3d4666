import type { Departed } from '../model/discovered.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Via } from './addressing.ts';
import type { ResolvedBackend } from './backends.ts';
import type { RemovalReason } from './removal-guard.ts';

/** Why a node would be removed, and its backend if known. */
export interface NodeRemoval {
  readonly reason: RemovalReason;
  readonly backend: number | undefined;
}

/** How the endpoints left: see `RemovalCause`. */
export type DepartureOf = (
  backend: number,
  removedEndpoints: Departed,
) => 'explained' | 'vanished' | 'unknown';

/** What the current list of a backend shows about a node; `Departed` if only the history of these endpoints can tell. */
type Observation = 'sick' | 'explained' | 'nothing' | Departed;

/** Returns why nodes would be removed, from the current lists of the backends and the history of their endpoints. */
export function createRemovalReasonOf(
  backends: readonly ResolvedBackend[],
  departureOf: DepartureOf,
): (node: UpstreamNode) => NodeRemoval {
  const services = backends.flatMap((backend, index) =>
    'found' in backend
      ? [
          {
            index,
            isKnown: backend.found.state === 'known' || backend.found.state === 'external',
            observe: observerOf(backend),
          },
        ]
      : [],
  );
  const only = services.length === 1 ? services[0]?.index : undefined;

  return (node) => {
    let explained = false;
    const removedEndpoints: { readonly index: number; readonly isKnown: boolean; readonly what: Departed }[] =
      [];
    for (const { index, isKnown, observe } of services) {
      const what = observe(node);
      if (what === 'sick') return { reason: 'sick', backend: index };
      if (what === 'explained') explained = true;
      else if (what !== 'nothing') removedEndpoints.push({ index, isKnown, what });
    }
    if (explained) return { reason: 'explained', backend: undefined };
    let vanishedFrom: number | undefined;
    for (const { index, isKnown, what } of removedEndpoints) {
      const departure = departureOf(index, what);
      // The Service no longer exists or is no longer permitted, which explains the removal of its endpoints.
      if (departure === 'explained' || (departure === 'vanished' && !isKnown)) {
        return { reason: 'explained', backend: undefined };
      }
      if (departure === 'vanished') vanishedFrom = index;
    }
    if (vanishedFrom !== undefined) return { reason: 'vanished', backend: vanishedFrom };
    if (services.some(({ isKnown }) => !isKnown)) return { reason: 'explained', backend: undefined };
    // Addresses of the Service itself cannot vanish: its spec and status list them.
    if (services.length > 0 && removedEndpoints.length === 0)
      return { reason: 'explained', backend: undefined };
    return { reason: 'vanished', backend: only };
  };
}

function observerOf({ found, via = { kind: 'endpoints' } }: Extract<ResolvedBackend, { found: unknown }>) {
  if (found.state === 'external') return (): Observation => 'nothing';
  const endpoints = found.state === 'known' ? found.endpoints : [];
  const byAddress = Map.groupBy(endpoints, ({ address }) => address);
  const atAddress = ({ host }: UpstreamNode): Observation =>
    observationOf(byAddress.get(host), { kind: 'address', address: host });
  switch (via.kind) {
    case 'endpoints':
      return atAddress;
    case 'nodes':
      return nodeObserver(via, endpoints, atAddress);
    case 'front': {
      const hosts = new Set(via.hosts);
      return ({ host }: UpstreamNode): Observation =>
        hosts.has(host) ? observationOf(endpoints, { kind: 'all' }) : 'nothing';
    }
    default:
      return via satisfies never;
  }
}

function nodeObserver(
  { nodes, port, isLocal }: Extract<Via, { kind: 'nodes' }>,
  endpoints: readonly Endpoint[],
  atAddress: (node: UpstreamNode) => Observation,
): (node: UpstreamNode) => Observation {
  const byHost = new Map(
    nodes.flatMap((judged) => judged.node.addresses.map(({ address }) => [address, judged] as const)),
  );
  const byNode = Map.groupBy(endpoints, ({ node }) => node);
  return (node) => {
    const judged = byHost.get(node.host);
    if (judged === undefined) {
      const observation = atAddress(node);
      // The address of an endpoint remains from before addressing mode Node was set.
      return observation === 'sick' ? 'explained' : observation;
    }
    if (judged.host !== node.host || port !== node.port) return 'explained';
    if (judged.state === 'notReady') return 'sick';
    if (judged.state !== 'usable') return 'explained';
    const { name } = judged.node;
    return isLocal
      ? observationOf(byNode.get(name), { kind: 'node', node: name })
      : observationOf(endpoints, { kind: 'all' });
  };
}

/** What the endpoints behind a node show; the node is removed only if none of them is usable. */
function observationOf(endpoints: readonly Endpoint[] | undefined, otherwise: Departed): Observation {
  if (endpoints === undefined || endpoints.length === 0) return otherwise;
  // An endpoint that is ready on another port or in another family indicates a change of the Service, not a loss.
  if (endpoints.some(({ ready }) => ready)) return 'explained';
  return areTerminating(endpoints, otherwise) ? 'explained' : 'sick';
}

/** For one address, one slice that reports terminating is enough; for several endpoints, all must be terminating. */
function areTerminating(endpoints: readonly Endpoint[], { kind }: Departed): boolean {
  return kind === 'address'
    ? endpoints.some(({ terminating }) => terminating)
    : endpoints.every(({ terminating }) => terminating);
}
