import type { InstanceChoice } from '../api/registry-section.ts';
import type { Departed } from '../model/discovered.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Via } from './addressing.ts';
import type { BackendMarks } from './backend-marks.ts';
import { isRecognized, type ResolvedBackend } from './backends.ts';
import { markedWeights } from './node-marks.ts';
import { type NodeRemoval, placeOf } from './removal-guard.ts';

/** How the endpoints left: see `RemovalCause`. */
export type DepartureOf = (
  backend: number,
  removedEndpoints: Departed,
) => 'explained' | 'vanished' | 'unknown';

/** What the current list of a backend shows about a node; `Departed` if only the history of these endpoints can tell. */
type Observation = 'sick' | 'explained' | 'nothing' | Departed;

/** A backend that follows a source. */
interface Followed {
  readonly index: number;
  readonly isKnown: boolean;
  readonly observe: (node: UpstreamNode) => Observation;
}

/**
 * Returns why nodes would be removed, from the current lists of the backends and the history of their endpoints. `marks`: the
 * marks of the backends, if nodes carry them.
 */
export function createRemovalReasonOf(
  backends: readonly ResolvedBackend[],
  departureOf: DepartureOf,
  marks?: BackendMarks,
): (node: UpstreamNode) => NodeRemoval {
  const followed = backends.flatMap((backend, index): readonly Followed[] =>
    'found' in backend && !isRecognized(backend)
      ? [
          {
            index,
            isKnown: backend.found.state === 'known' || backend.found.state === 'external',
            observe: observerOf(backend),
          },
        ]
      : [],
  );
  const recognized = [...backends.keys()].filter((index) => isRecognized(backends[index]));
  return (node) => {
    const marked = new Set(markedWeights(node).map(({ mark }) => mark));
    const isOf = (index: number) => marked.has(marks?.[index] ?? '');
    const own = followed.filter(({ index }) => isOf(index));
    const unanswered = own.length === 0 ? recognized.find(isOf) : undefined;
    // A backend that has not answered yet keeps all of its nodes whose addresses are allowed.
    if (unanswered !== undefined) return { reason: 'vanished', backend: unanswered };
    const { reason, backend } = removalFrom(own.length === 0 ? followed : own, node, departureOf);
    return { reason, backend: backend ?? own[0]?.index };
  };
}

/** Why `node` is removed, if it comes from one of `followed`. */
function removalFrom(
  followed: readonly Followed[],
  node: UpstreamNode,
  departureOf: DepartureOf,
): NodeRemoval {
  let explained = false;
  const departed: { readonly index: number; readonly isKnown: boolean; readonly what: Departed }[] = [];
  for (const { index, isKnown, observe } of followed) {
    const what = observe(node);
    if (what === 'sick') return { reason: 'sick', backend: index };
    if (what === 'explained') explained = true;
    else if (what !== 'nothing') departed.push({ index, isKnown, what });
  }
  if (explained) return EXPLAINED;
  let vanishedFrom: number | undefined;
  for (const { index, isKnown, what } of departed) {
    const departure = departureOf(index, what);
    // The Service no longer exists or is no longer permitted, which explains the removal of its endpoints.
    if (departure === 'explained' || (departure === 'vanished' && !isKnown)) return EXPLAINED;
    if (departure === 'vanished') vanishedFrom = index;
  }
  if (vanishedFrom !== undefined) return { reason: 'vanished', backend: vanishedFrom };
  if (followed.some(({ isKnown }) => !isKnown)) return EXPLAINED;
  // Addresses of the Service itself cannot vanish: its spec and status list them.
  if (followed.length > 0 && departed.length === 0) return EXPLAINED;
  return { reason: 'vanished', backend: followed.length === 1 ? followed[0]?.index : undefined };
}

const EXPLAINED: NodeRemoval = { reason: 'explained', backend: undefined };

type FoundBackend = Extract<ResolvedBackend, { found: unknown }>;

function observerOf(backend: FoundBackend) {
  const { target, found, via = { kind: 'endpoints' } } = backend;
  if (found.state === 'external') return (): Observation => 'nothing';
  if (target.kind === 'registry') return instanceObserver(backend, target.choice);
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

/** Several instances of a registry may share an address, so the port is part of their identity. */
function instanceObserver({ found }: FoundBackend, { portKey }: InstanceChoice) {
  const endpoints = found.state === 'known' ? found.endpoints : [];
  const byPlace = Map.groupBy(endpoints, ({ address, port }) => `${address} ${port}`);
  return (node: UpstreamNode): Observation => {
    const { host: address, port } = node;
    const place = { kind: 'address', address, port, ...(portKey === undefined ? {} : { portKey }) } as const;
    return observationOf(byPlace.get(placeOf(node)), place);
  };
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
