import type { JudgedNode } from '../../decide/addressing.ts';
import type { ResolvedBackend } from '../../decide/backends.ts';
import type { NodeChange } from '../../decide/diff.ts';
import type { Endpoint } from '../../model/endpoint.ts';
import type { Reference } from '../../model/reference.ts';
import type { UpstreamNode } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';

/** Says in a few words why nodes come and go. */
export interface NodeReasons {
  /** Undefined where only a weight or priority changes. */
  readonly of: (change: NodeChange) => string | undefined;
  /** Why a node that the gateway holds is not wanted any more. */
  readonly gone: (node: UpstreamNode) => string;
}

/** What the backends of an object say about hosts. */
interface KnownHosts {
  readonly listed: ReadonlyMap<string, readonly { readonly endpoint: Endpoint; readonly service: string }[]>;
  /** What stands for endpoints, by host. */
  readonly standing: ReadonlyMap<string, { readonly used: string; readonly gone: string }>;
  readonly services: readonly string[];
  readonly problems: readonly string[];
}

export function createNodeReasons(accepted: Verdict, backends: readonly ResolvedBackend[]): NodeReasons {
  const hosts = hostsOf(backends);
  const gone = (node: UpstreamNode) => whyGone(hosts, accepted, node);
  return {
    gone,
    of(change) {
      switch (change.kind) {
        case 'remove':
          return gone(change.node);
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
  const listed = new Map<string, { readonly endpoint: Endpoint; readonly service: string }[]>();
  const standing = new Map<string, { readonly used: string; readonly gone: string }>();
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
    for (const [host, why] of placesOf(backend, service)) standing.set(host, why);
    if (found.state === 'external') continue;
    for (const endpoint of found.endpoints) {
      const others = listed.get(endpoint.address) ?? [];
      listed.set(endpoint.address, [...others, { endpoint, service }]);
    }
  }
  return { listed, standing, services, problems };
}

function whyGone(
  { listed, standing, services, problems }: KnownHosts,
  accepted: Verdict,
  { host }: UpstreamNode,
): string {
  if (accepted.status !== 'True') return 'the object is not accepted';
  const place = standing.get(host);
  if (place !== undefined) return place.gone;
  const found = listed.get(host) ?? [];
  const [first] = found;
  if (first === undefined) {
    return services.length === 0
      ? (problems[0] ?? 'not an address of the spec')
      : `not listed by ${[...new Set(services)].join(', ')}`;
  }
  const { service } = first;
  if (found.some(({ endpoint }) => endpoint.terminating)) return `terminating in ${service}`;
  if (found.every(({ endpoint }) => !endpoint.ready)) return `not ready in ${service}`;
  return `ready in ${service}, but not on this port, of another family, or of weight 0`;
}

function whyAdded({ listed, standing }: KnownHosts, { host, port }: UpstreamNode): string {
  const place = standing.get(host);
  if (place !== undefined) return place.used;
  const found = listed.get(host)?.filter(({ endpoint }) => endpoint.port === port) ?? [];
  const best = found.find(({ endpoint }) => endpoint.ready) ?? found[0];
  if (best === undefined) return 'an address of the spec';
  return `${best.endpoint.ready ? 'ready' : 'serves while it terminates'} in ${best.service}`;
}

const UNUSED: Readonly<Record<JudgedNode['state'], string>> = {
  usable: 'has no endpoint in use, or another NodePort',
  notReady: 'is not ready',
  unusable: 'is not for traffic from outside, or has no such address',
  unselected: 'is not selected',
  notAllowed: 'has an address that the connection does not allow',
};

/** The places that stand for the endpoints of `service`, and why each is in the gateway or not. */
function placesOf(
  backend: Extract<ResolvedBackend, { found: unknown }>,
  service: string,
): readonly (readonly [host: string, why: { readonly used: string; readonly gone: string }])[] {
  const { found, via = { kind: 'endpoints' } } = backend;
  if (found.state === 'external') {
    const why = `the name that ${service} stands for`;
    return [[found.host, { used: why, gone: why }]];
  }
  switch (via.kind) {
    case 'endpoints':
      return [];
    case 'nodes':
      return via.nodes.flatMap(({ host, node: { name }, state }) =>
        host === undefined
          ? []
          : [[host, { used: `node ${name}, for ${service}`, gone: `node ${name} ${UNUSED[state]}` }]],
      );
    case 'front': {
      const why = { used: `stands for ${service}`, gone: `no endpoint of ${service} is in use` };
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
