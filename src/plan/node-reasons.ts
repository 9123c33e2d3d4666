import type { ResolvedBackend, ServicePortRef } from '../core/desired.ts';
import type { NodeChange } from '../core/diff.ts';
import type { Endpoint, UpstreamNode } from '../core/model.ts';
import type { Verdict } from '../core/status.ts';

/** Says in a few words why nodes come and go. */
export interface NodeReasons {
  /** Undefined where only a weight or priority changes. */
  readonly of: (change: NodeChange) => string | undefined;
  /** Why a node that the gateway holds is not wanted any more. */
  readonly gone: (node: UpstreamNode) => string;
}

export function createNodeReasons(accepted: Verdict, backends: readonly ResolvedBackend[]): NodeReasons {
  const listed = new Map<string, { readonly endpoint: Endpoint; readonly service: string }[]>();
  const services: string[] = [];
  const problems: string[] = [];
  for (const backend of backends) {
    if (!('found' in backend)) continue;
    const { found, target } = backend;
    const service = serviceOf(target.ref);
    if (found.state !== 'known') {
      problems.push(found.message);
      continue;
    }
    services.push(service);
    for (const endpoint of found.endpoints) {
      const others = listed.get(endpoint.address) ?? [];
      listed.set(endpoint.address, [...others, { endpoint, service }]);
    }
  }

  const gone = ({ host }: UpstreamNode): string => {
    if (accepted.status !== 'True') return 'the object is not accepted';
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
  };

  return {
    gone,
    of(change) {
      switch (change.kind) {
        case 'remove':
          return gone(change.node);
        case 'change':
          return undefined;
        case 'add': {
          const { host, port } = change.node;
          const found = listed.get(host)?.filter(({ endpoint }) => endpoint.port === port) ?? [];
          const best = found.find(({ endpoint }) => endpoint.ready) ?? found[0];
          if (best === undefined) return 'an address of the spec';
          return `${best.endpoint.ready ? 'ready' : 'serves while it terminates'} in ${best.service}`;
        }
        default:
          return change satisfies never;
      }
    },
  };
}

function serviceOf({ namespace, name }: ServicePortRef): string {
  return `Service ${namespace}/${name}`;
}
