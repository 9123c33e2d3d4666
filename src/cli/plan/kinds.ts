import type { Catalog, FollowedResources } from '../../catalog.ts';
import { IdConflicts } from '../../decide/id-conflicts.ts';
import { createStore } from '../../kube/store.ts';
import type { FollowedKind, FollowedResource } from '../../model/followed-resource.ts';
import { keyOf } from '../../model/keys.ts';
import type { CertificateSecret, ServiceRegistry } from '../../model/objects.ts';
import type { Stored, StoreView } from '../../model/store-view.ts';
import { identityIn, objectIn } from '../../runtime/json.ts';

/** The kinds that a plan reads. */
export interface PlanResources extends FollowedResources {
  /** Undefined if no registry type is built in, or if the operator does not watch ServiceRegistries. */
  readonly registries: FollowedResource<ServiceRegistry> | undefined;
}

export function planResources(
  { followedResources, registries }: Pick<Catalog, 'followedResources' | 'registries'>,
  { watchRegistries }: { readonly watchRegistries: boolean } = { watchRegistries: true },
): PlanResources {
  return { ...followedResources, registries: watchRegistries ? registries : undefined };
}

export type KindName = Exclude<keyof PlanResources, 'certificates'>;

/** The supported versions of a kind, the newest first. */
export function versionsOf({ version, olderVersion }: FollowedKind): readonly string[] {
  return olderVersion === undefined ? [version] : [version, olderVersion];
}

/** Kinds that the operator watches only if `watchNodes` or `readEndpoints` is set. */
type SwitchedKind = 'nodes' | 'endpoints';

/** Objects as the API server returns them. */
export type RawObjects = Readonly<
  Record<Exclude<KindName, OptionalKind | SwitchedKind>, readonly unknown[]> &
    /** Undefined: the API server does not serve the kind. */
    Record<OptionalKind, readonly unknown[] | undefined> &
    Partial<Record<SwitchedKind, readonly unknown[]>>
>;

/** Kinds that may be missing in a cluster. */
type OptionalKind = 'grants' | 'sets' | 'registries';

type StoreOf<N extends KindName> = StoreView<
  NonNullable<ReturnType<NonNullable<PlanResources[N]>['transform']>>
>;

export type Stores = { readonly [N in Exclude<KindName, SwitchedKind | 'registries'>]: StoreOf<N> } & {
  readonly [N in SwitchedKind | 'registries']?: StoreOf<N>;
} & {
  /** The Secrets that GatewayUpstreams may refer to, by namespace. */
  readonly certificates: ReadonlyMap<string, StoreView<CertificateSecret>>;
};

/** Synced stores with `objects`. `certificates` contains the Secrets of `secretNamespaces` only. */
export function storesOf(
  resources: PlanResources,
  objects: RawObjects,
  secretNamespaces: readonly string[] = [],
): Stores {
  const { certificates } = resources;
  return {
    certificates: new Map(
      secretNamespaces.map((namespace) => [
        namespace,
        filled(
          certificates,
          objects.secrets.filter((raw) => identityIn(objectIn(raw))?.namespace === namespace),
        ),
      ]),
    ),
    upstreams: filled(resources.upstreams, objects.upstreams),
    connections: filled(resources.connections, objects.connections),
    sets: filled(resources.sets, objects.sets),
    namespaces: filled(resources.namespaces, objects.namespaces),
    services: filled(resources.services, objects.services),
    slices: filled(resources.slices, objects.slices),
    secrets: filled(resources.secrets, objects.secrets),
    grants: filled(resources.grants, objects.grants),
    ...(resources.registries === undefined
      ? {}
      : { registries: filled(resources.registries, objects.registries) }),
    ...(objects.nodes === undefined ? {} : { nodes: filled(resources.nodes, objects.nodes) }),
    ...(objects.endpoints === undefined ? {} : { endpoints: filled(resources.endpoints, objects.endpoints) }),
  };
}

function filled<T extends Stored>(
  { transform, indexes }: FollowedResource<T>,
  raw: readonly unknown[] | undefined,
) {
  return planStore(
    indexes,
    (raw ?? []).flatMap((value) => transform(value) ?? []),
    { state: raw === undefined ? 'absent' : 'synced' },
  );
}

/** A store of `objects` that rethrows errors of its listeners. */
export function planStore<T extends Stored>(
  indexes: FollowedResource<T>['indexes'],
  objects: readonly T[],
  state: StoreView<T>['state'],
) {
  const store = createStore<T>({
    indexes,
    reportError: (error) => {
      throw error;
    },
  });
  store.replaceAll(objects);
  store.setState(state);
  return store;
}

/** The id conflicts between the GatewayUpstreams of `stores`. */
export function conflictsOf({
  upstreams,
  connections,
}: Pick<Stores, 'upstreams' | 'connections'>): IdConflicts {
  const conflicts = new IdConflicts();
  for (const object of upstreams.list()) {
    const spec = connections.get('', object.connection)?.spec;
    conflicts.update(keyOf(object), object, spec?.ok === true ? spec.value.idPrefix : undefined);
  }
  return conflicts;
}
