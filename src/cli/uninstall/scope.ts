import {
  GATEWAY_CONNECTION,
  GATEWAY_UPSTREAM,
  GATEWAY_UPSTREAM_SET,
  SERVICE_REGISTRY,
} from '../../api/crd.ts';
import { GROUP, UPSTREAM_FINALIZER, VERSION } from '../../api/group.ts';
import { registriesOf } from '../../decide/upstream-indexes.ts';
import { listAll } from '../../kube/list-all.ts';
import type { CustomTransforms } from '../../kube/objects.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type {
  CustomObject,
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  ServiceRegistry,
} from '../../model/objects.ts';

/** The objects that the operator to uninstall maintains. */
export interface Scope {
  readonly upstreams: readonly GatewayUpstream[];
  readonly sets: readonly GatewayUpstreamSet[];
  readonly connections: readonly GatewayConnection[];
  readonly registries: readonly ServiceRegistry[];
  /** GatewayUpstreams that another operator maintains. */
  readonly others: readonly GatewayUpstream[];
}

const NAMED = 10;

/** `namespaces`: the watched namespaces. Empty: all. */
export async function scopeOf(
  transforms: CustomTransforms,
  transport: KubeTransport,
  namespaces: readonly string[],
  signal: AbortSignal,
): Promise<Scope> {
  const [all, sets, connections, registries] = await Promise.all([
    objectsOf(transport, GATEWAY_UPSTREAM.plural, transforms.gatewayUpstream, signal),
    objectsOf(transport, GATEWAY_UPSTREAM_SET.plural, transforms.gatewayUpstreamSet, signal),
    objectsOf(transport, GATEWAY_CONNECTION.plural, transforms.gatewayConnection, signal),
    objectsOf(transport, SERVICE_REGISTRY.plural, transforms.serviceRegistry, signal),
  ]);
  const isWatched = watchedIn(namespaces);
  const upstreams = all.filter(isWatched);
  const others = all.filter((object) => !isWatched(object) && object.finalizers.includes(UPSTREAM_FINALIZER));
  if (others.length === 0) return { upstreams, sets, connections, registries, others };
  const makes = (objects: readonly GatewayUpstream[], { name }: GatewayUpstreamSet) =>
    objects.some(({ madeBy }) => madeBy?.set === name);
  return {
    upstreams,
    sets: sets.filter((set) => makes(upstreams, set)),
    connections: connections.filter(({ name }) => !others.some(({ connection }) => connection === name)),
    registries: registries.filter(({ name }) => !others.some((one) => registriesOf(one).includes(name))),
    others,
  };
}

/** The GatewayUpstreams in `namespaces`, for a loop that waits for them. */
export async function upstreamsOf(
  transforms: CustomTransforms,
  transport: KubeTransport,
  namespaces: readonly string[],
  signal: AbortSignal,
): Promise<readonly GatewayUpstream[]> {
  const all = await objectsOf(transport, GATEWAY_UPSTREAM.plural, transforms.gatewayUpstream, signal);
  return all.filter(watchedIn(namespaces));
}

function watchedIn(namespaces: readonly string[]): (object: GatewayUpstream) => boolean {
  return ({ namespace }) => namespaces.length === 0 || namespaces.includes(namespace);
}

async function objectsOf<T>(
  transport: KubeTransport,
  plural: string,
  transform: ((raw: unknown) => T | undefined) | undefined,
  signal: AbortSignal,
): Promise<readonly T[]> {
  // Without a registry type, the program has no kind ServiceRegistry.
  if (transform === undefined) return [];
  const path = resourcePath({ group: GROUP, version: VERSION, plural });
  const raw = (await listAll(transport, path, {}, signal)) ?? [];
  return raw.map(transform).filter((object) => object !== undefined);
}

export function count(number: number, kind: string): string {
  return `${number} ${kind}${number === 1 ? '' : 's'}`;
}

/** The names of the first objects and the number of the others. */
export function namesOf(
  objects: readonly Pick<CustomObject<unknown, unknown>, 'namespace' | 'name'>[],
): string {
  const names = objects
    .slice(0, NAMED)
    .map(({ namespace, name }) => (namespace === '' ? name : `${namespace}/${name}`));
  const more = objects.length - names.length;
  return `${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
