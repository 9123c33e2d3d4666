import type { JudgedNode } from '../../decide/addressing.ts';
import type { ResolvedBackend } from '../../decide/backends.ts';
import type { NodeChange } from '../../decide/diff.ts';
import { placeOf } from '../../decide/removal-guard.ts';
import type { Endpoint } from '../../model/endpoint.ts';
import type { Reference } from '../../model/reference.ts';
import type { UpstreamNode } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';

/** Explains in a few words why nodes are added and removed. */
export interface NodeReasons {
  /** Undefined if only the weight or the priority changes. */
  readonly of: (change: NodeChange) => string | undefined;
  /** Why a node in the gateway is no longer desired. */
  readonly removed: (node: UpstreamNode) => string;
}

interface Listed {
  readonly endpoint: Endpoint;
  readonly service: string;
  /** It is an instance in a registry. */
  readonly isInstance: boolean;
}

/** Facts about hosts, from the backends of an object. */
interface KnownHosts {
  readonly listed: ReadonlyMap<string, readonly Listed[]>;
  /** Hosts that represent the endpoints of a Service, such as nodes or load balancers. */
  readonly proxies: ReadonlyMap<string, { readonly used: string; readonly removed: string }>;
  /** The registry service of each listed instance that its backend does not select, by `placeOf`. */
  readonly unselected: ReadonlyMap<string, string>;
  readonly services: readonly string[];
  readonly problems: readonly string[];
}

export function createNodeReasons(accepted: Verdict, backends: readonly ResolvedBackend[]): NodeReasons {
  const hosts = hostsOf(backends);
  const removed = (node: UpstreamNode) => whyRemoved(hosts, accepted, node);
  return {
    removed,
    of(change) {
      switch (change.kind) {
        case 'remove':
          return removed(change.node);
        case 'change':
          return undefined;
        case 'add':
          return whyAdded(hosts, change.node);
        default:
          return change satisfies never;
      }
    },
  };
}

function hostsOf(backends: readonly ResolvedBackend[]): KnownHosts {
  const listed = new Map<string, Listed[]>();
  const proxies = new Map<string, { readonly used: string; readonly removed: string }>();
  const unselected = new Map<string, string>();
  const services: string[] = [];
  const problems: string[] = [];
  for (const backend of backends) {
    if (!('found' in backend)) continue;
    const { found, target } = backend;
    const service = serviceOf(target.ref);
    if ('message' in found) {
      problems.push(found.message);
      continue;
    }
    services.push(service);
    for (const [host, why] of placesOf(backend, service)) proxies.set(host, why);
    if (found.state === 'external') continue;
    // Those that are selected are in `listed` as well.
    for (const place of listedPlaces(backend)) unselected.set(place, service);
    for (const endpoint of found.endpoints) {
      const others = listed.get(endpoint.address) ?? [];
      listed.set(endpoint.address, [
        ...others,
        { endpoint, service, isInstance: target.kind === 'registry' },
      ]);
    }
  }
  return { listed, proxies, unselected, services, problems };
}

/** All instances of a registry, whatever the backend selects. */
function listedPlaces({ target, answer }: Extract<ResolvedBackend, { found: unknown }>): readonly string[] {
  if (target.kind !== 'registry' || answer?.state !== 'known') return [];
  return answer.endpoints.flatMap(({ address: host, port }) =>
    port === undefined ? [] : [placeOf({ host, port })],
  );
}

function whyRemoved(
  { listed, proxies, unselected, services, problems }: KnownHosts,
  accepted: Verdict,
  { host, port }: UpstreamNode,
): string {
  if (accepted.status !== 'True') return 'the object is not accepted';
  const place = proxies.get(host);
  if (place !== undefined) return place.removed;
  // In a registry, instances on one machine have different ports. All endpoints of a Service have the same one.
  const found = (listed.get(host) ?? []).filter(
    ({ endpoint, isInstance }) => !isInstance || endpoint.port === port,
  );
  const [first] = found;
  if (first === undefined) {
    const owner = unselected.get(placeOf({ host, port }));
    if (owner !== undefined) return `listed by ${owner}, but excluded by metadata, address or weight 0`;
    return services.length === 0
      ? (problems[0] ?? 'not an address in the spec')
      : `not listed by ${[...new Set(services)].join(', ')}`;
  }
  const { service, isInstance } = first;
  if (found.some(({ endpoint }) => endpoint.terminating))
    return `${isInstance ? 'out of service' : 'terminating'} in ${service}`;
  if (found.every(({ endpoint }) => !endpoint.ready)) return `not ready in ${service}`;
  return `ready in ${service}, but excluded by port, address family or weight 0`;
}

function whyAdded({ listed, proxies }: KnownHosts, { host, port }: UpstreamNode): string {
  const place = proxies.get(host);
  if (place !== undefined) return place.used;
  const found = listed.get(host)?.filter(({ endpoint }) => endpoint.port === port) ?? [];
  const best = found.find(({ endpoint }) => endpoint.ready) ?? found[0];
  if (best === undefined) return 'an address in the spec';
  return `${best.endpoint.ready ? 'ready' : 'serving while terminating'} in ${best.service}`;
}

const UNUSED: Readonly<Record<JudgedNode['state'], string>> = {
  usable: 'has no endpoint in use, or a different NodePort',
  notReady: 'is not ready',
  unusable: 'is excluded from external load balancers, or has no address of the configured type',
  unselected: 'does not match nodeSelector',
  notAllowed: 'has an address that the GatewayConnection does not allow',
};

/** The hosts that represent the endpoints of `service`, and why each is in the gateway or not. */
function placesOf(
  backend: Extract<ResolvedBackend, { found: unknown }>,
  service: string,
): readonly (readonly [host: string, why: { readonly used: string; readonly removed: string }])[] {
  const { found, via = { kind: 'endpoints' } } = backend;
  if (found.state === 'external') {
    const why = `external name of ${service}`;
    return [[found.host, { used: why, removed: why }]];
  }
  switch (via.kind) {
    case 'endpoints':
      return [];
    case 'nodes':
      return via.nodes.flatMap(({ host, node: { name }, state }) =>
        host === undefined
          ? []
          : [[host, { used: `node ${name}, for ${service}`, removed: `node ${name} ${UNUSED[state]}` }]],
      );
    case 'front': {
      const why = { used: `address of ${service}`, removed: `no endpoint of ${service} is in use` };
      return via.hosts.map((host) => [host, why]);
    }
    default:
      return via satisfies never;
  }
}

function serviceOf(ref: Reference): string {
  return ref.source === 'Kubernetes'
    ? `Service ${ref.namespace}/${ref.name}`
    : `service ${ref.service} of ServiceRegistry ${ref.registry}`;
}
