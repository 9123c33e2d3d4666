import type { Departed } from '../model/discovered.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Via } from './addressing.ts';
import type { ResolvedBackend } from './backends.ts';
import type { RemovalReason } from './removal-guard.ts';

/** Why a node would go, and which backend it belongs to as far as that is known. */
export interface NodeRemoval {
  readonly reason: RemovalReason;
  readonly backend: number | undefined;
}

/** How that went: see `RemovalCause` of the sources. */
export type DepartureOf = (
  backend: number,
  removedEndpoints: Departed,
) => 'explained' | 'vanished' | 'unknown';

/** What a backend says of a node by what it lists now; `Departed`: nothing, but what is remembered of that may. */
type Look = 'sick' | 'explained' | 'nothing' | Departed;

/** Why nodes would go that the gateway holds, by what their backends list now and what is remembered of them. */
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
            look: lookOf(backend),
          },
        ]
      : [],
  );
  const only = services.length === 1 ? services[0]?.index : undefined;

  return (node) => {
    let explained = false;
    const removedEndpoints: { readonly index: number; readonly isKnown: boolean; readonly what: Departed }[] =
      [];
    for (const { index, isKnown, look } of services) {
      const what = look(node);
      if (what === 'sick') return { reason: 'sick', backend: index };
      if (what === 'explained') explained = true;
      else if (what !== 'nothing') removedEndpoints.push({ index, isKnown, what });
    }
    if (explained) return { reason: 'explained', backend: undefined };
    let vanishedFrom: number | undefined;
    for (const { index, isKnown, what } of removedEndpoints) {
      const departure = departureOf(index, what);
      // What belonged to a Service that is gone, or that this object may not look at any more, goes with it.
      if (departure === 'explained' || (departure === 'vanished' && !isKnown)) {
        return { reason: 'explained', backend: undefined };
      }
      if (departure === 'vanished') vanishedFrom = index;
    }
    if (vanishedFrom !== undefined) return { reason: 'vanished', backend: vanishedFrom };
    if (services.some(({ isKnown }) => !isKnown)) return { reason: 'explained', backend: undefined };
    // The addresses of a Service itself do not vanish: its spec and status say which there are.
    if (services.length > 0 && removedEndpoints.length === 0)
      return { reason: 'explained', backend: undefined };
    return { reason: 'vanished', backend: only };
  };
}

function lookOf({ found, via = { kind: 'endpoints' } }: Extract<ResolvedBackend, { found: unknown }>) {
  if (found.state === 'external') return (): Look => 'nothing';
  const endpoints = found.state === 'known' ? found.endpoints : [];
  const byAddress = Map.groupBy(endpoints, ({ address }) => address);
  const atAddress = ({ host }: UpstreamNode): Look =>
    lookAt(byAddress.get(host), { kind: 'address', address: host });
  switch (via.kind) {
    case 'endpoints':
      return atAddress;
    case 'nodes':
      return lookAtNodes(via, endpoints, atAddress);
    case 'front': {
      const hosts = new Set(via.hosts);
      return ({ host }: UpstreamNode): Look =>
        hosts.has(host) ? lookAt(endpoints, { kind: 'all' }) : 'nothing';
    }
    default:
      return via satisfies never;
  }
}

function lookAtNodes(
  { nodes, port, isLocal }: Extract<Via, { kind: 'nodes' }>,
  endpoints: readonly Endpoint[],
  atAddress: (node: UpstreamNode) => Look,
): (node: UpstreamNode) => Look {
  const byHost = new Map(
    nodes.flatMap((judged) => judged.node.addresses.map(({ address }) => [address, judged] as const)),
  );
  const byNode = Map.groupBy(endpoints, ({ node }) => node);
  return (held) => {
    const judged = byHost.get(held.host);
    if (judged === undefined) {
      const look = atAddress(held);
      // An endpoint's own address is from before nodes were asked for.
      return look === 'sick' ? 'explained' : look;
    }
    if (judged.host !== held.host || port !== held.port) return 'explained';
    if (judged.state === 'notReady') return 'sick';
    if (judged.state !== 'usable') return 'explained';
    const { name } = judged.node;
    return isLocal
      ? lookAt(byNode.get(name), { kind: 'node', node: name })
      : lookAt(endpoints, { kind: 'all' });
  };
}

/** What the endpoints behind a node say, all of which would have to be of no use for it to go. */
function lookAt(endpoints: readonly Endpoint[] | undefined, otherwise: Departed): Look {
  if (endpoints === undefined || endpoints.length === 0) return otherwise;
  // Ready on another port, or as another family, is a change of the Service and no loss.
  if (endpoints.some(({ ready }) => ready)) return 'explained';
  return saysTerminating(endpoints, otherwise) ? 'explained' : 'sick';
}

/** Of one address any slice may say so; of several endpoints every one has to. */
function saysTerminating(endpoints: readonly Endpoint[], { kind }: Departed): boolean {
  return kind === 'address'
    ? endpoints.some(({ terminating }) => terminating)
    : endpoints.every(({ terminating }) => terminating);
}
