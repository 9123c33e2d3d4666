import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../../api/crd.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import { IdConflicts } from '../../decide/id-conflicts.ts';
import { grantIndexes } from '../../decide/references.ts';
import { upstreamIndexes } from '../../decide/upstream-indexes.ts';
import {
  type CustomTransforms,
  REFERENCE_GRANT,
  transformCertificateSecret,
  transformNamespace,
  transformNode,
  transformReferenceGrant,
  transformSecret,
} from '../../kube/objects.ts';
import { createStore } from '../../kube/store.ts';
import { keyOf } from '../../model/keys.ts';
import type { CertificateSecret } from '../../model/objects.ts';
import type { Stored, StoreView } from '../../model/store-view.ts';
import { identityIn, objectIn } from '../../runtime/json.ts';
import {
  serviceIndexes,
  sliceIndexes,
  transformEndpoints,
  transformService,
  transformSlice,
} from '../../sources/kubernetes/transform.ts';

/** One kind that a plan depends on. */
export interface Kind<T extends Stored> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** Served where `version` is not; of the same shape. */
  readonly olderVersion?: string;
  readonly kind: string;
  readonly plural: string;
  readonly scope: 'Namespaced' | 'Cluster';
  /** Undefined for what the operator would not look at either. */
  readonly trim: (value: unknown, custom: CustomTransforms) => T | undefined;
  readonly indexes: Readonly<Record<string, (object: T) => readonly string[]>>;
}

/** Lets the compiler find `T`. */
function kind<T extends Stored>(described: Kind<T>): Kind<T> {
  return described;
}

/** Everything that decides what becomes of an object: what `run` follows. */
export const KINDS = {
  upstreams: kind({
    ...GATEWAY_UPSTREAM,
    group: GROUP,
    version: VERSION,
    trim: (value, { gatewayUpstream }) => gatewayUpstream(value),
    indexes: upstreamIndexes,
  }),
  connections: kind({
    ...GATEWAY_CONNECTION,
    group: GROUP,
    version: VERSION,
    trim: (value, { gatewayConnection }) => gatewayConnection(value),
    indexes: {},
  }),
  sets: kind({
    ...GATEWAY_UPSTREAM_SET,
    group: GROUP,
    version: VERSION,
    trim: (value, { gatewayUpstreamSet }) => gatewayUpstreamSet(value),
    indexes: {},
  }),
  namespaces: kind({
    group: '',
    version: 'v1',
    kind: 'Namespace',
    plural: 'namespaces',
    scope: 'Cluster',
    trim: transformNamespace,
    indexes: {},
  }),
  services: kind({
    group: '',
    version: 'v1',
    kind: 'Service',
    plural: 'services',
    scope: 'Namespaced',
    trim: transformService,
    indexes: serviceIndexes,
  }),
  slices: kind({
    group: 'discovery.k8s.io',
    version: 'v1',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    scope: 'Namespaced',
    trim: transformSlice,
    indexes: sliceIndexes,
  }),
  nodes: kind({
    group: '',
    version: 'v1',
    kind: 'Node',
    plural: 'nodes',
    scope: 'Cluster',
    trim: transformNode,
    indexes: {},
  }),
  endpoints: kind({
    group: '',
    version: 'v1',
    kind: 'Endpoints',
    plural: 'endpoints',
    scope: 'Namespaced',
    trim: transformEndpoints,
    indexes: {},
  }),
  secrets: kind({
    group: '',
    version: 'v1',
    kind: 'Secret',
    plural: 'secrets',
    scope: 'Namespaced',
    trim: transformSecret,
    indexes: {},
  }),
  grants: kind({
    ...REFERENCE_GRANT,
    kind: 'ReferenceGrant',
    scope: 'Namespaced',
    trim: transformReferenceGrant,
    indexes: grantIndexes,
  }),
} as const;

export type KindName = keyof typeof KINDS;

/** The versions of a kind that will do, the newest first. */
export function versionsOf(name: KindName): readonly string[] {
  const described: { readonly version: string; readonly olderVersion?: string } = KINDS[name];
  return described.olderVersion === undefined
    ? [described.version]
    : [described.version, described.olderVersion];
}

/** Kinds that an operator follows only where its configuration says so (`watchNodes`, `readEndpoints`). */
type SwitchedKind = 'nodes' | 'endpoints';

/** Objects as the API server gives them. */
export type RawObjects = Readonly<
  Record<Exclude<KindName, OptionalKind | SwitchedKind>, readonly unknown[]> &
    /** Undefined: the API server does not serve them. */
    Record<OptionalKind, readonly unknown[] | undefined> &
    Partial<Record<SwitchedKind, readonly unknown[]>>
>;

/** Kinds that need not be installed. */
type OptionalKind = 'grants' | 'sets';

type StoreOf<N extends KindName> = StoreView<NonNullable<ReturnType<(typeof KINDS)[N]['trim']>>>;

export type Stores = { readonly [N in Exclude<KindName, SwitchedKind>]: StoreOf<N> } & {
  readonly [N in SwitchedKind]?: StoreOf<N>;
} & {
  /** Of `secrets` those that GatewayUpstreams may refer to, by namespace. */
  readonly certificates: ReadonlyMap<string, StoreView<CertificateSecret>>;
};

/** Stores that hold `objects`, all of them known in full; certificates those of `secretNamespaces` alone. */
export function storesOf(
  custom: CustomTransforms,
  objects: RawObjects,
  secretNamespaces: readonly string[] = [],
): Stores {
  const certificateKind = { trim: transformCertificateSecret, indexes: {} };
  const filled = <T extends Stored>(
    { trim, indexes }: Pick<Kind<T>, 'trim' | 'indexes'>,
    raw: readonly unknown[] | undefined,
  ) =>
    planStore(
      indexes,
      (raw ?? []).flatMap((value) => trim(value, custom) ?? []),
      { state: raw === undefined ? 'absent' : 'synced' },
    );
  return {
    certificates: new Map(
      secretNamespaces.map((namespace) => [
        namespace,
        filled(
          certificateKind,
          objects.secrets.filter((raw) => identityIn(objectIn(raw))?.namespace === namespace),
        ),
      ]),
    ),
    upstreams: filled(KINDS.upstreams, objects.upstreams),
    connections: filled(KINDS.connections, objects.connections),
    sets: filled(KINDS.sets, objects.sets),
    namespaces: filled(KINDS.namespaces, objects.namespaces),
    services: filled(KINDS.services, objects.services),
    slices: filled(KINDS.slices, objects.slices),
    secrets: filled(KINDS.secrets, objects.secrets),
    grants: filled(KINDS.grants, objects.grants),
    ...(objects.nodes === undefined ? {} : { nodes: filled(KINDS.nodes, objects.nodes) }),
    ...(objects.endpoints === undefined ? {} : { endpoints: filled(KINDS.endpoints, objects.endpoints) }),
  };
}

/** A store of `objects` in which an error of a listener is a defect of the plan. */
export function planStore<T extends Stored>(
  indexes: Kind<T>['indexes'],
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

/** Which upstream ids the GatewayUpstreams of `stores` want. */
export function claimsOf({ upstreams, connections }: Pick<Stores, 'upstreams' | 'connections'>): IdConflicts {
  const claims = new IdConflicts();
  for (const object of upstreams.list()) {
    const spec = connections.get('', object.connection)?.spec;
    claims.update(keyOf(object), object, spec?.ok === true ? spec.value.idPrefix : undefined);
  }
  return claims;
}
