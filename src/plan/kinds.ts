import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../api/crd.ts';
import { GROUP, VERSION } from '../api/group.ts';
import { upstreamIndexes } from '../controller/controller.ts';
import { grantIndexes } from '../controller/references.ts';
import { serviceIndexes, sliceIndexes, trimService, trimSlice } from '../discovery/kubernetes.ts';
import {
  REFERENCE_GRANT,
  trimGatewayConnection,
  trimGatewayUpstream,
  trimGatewayUpstreamSet,
  trimNamespace,
  trimReferenceGrant,
  trimSecret,
} from '../kube/objects.ts';
import { createStore, type Stored, type StoreView } from '../kube/store.ts';

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
  readonly trim: (value: unknown) => T | undefined;
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
    trim: trimGatewayUpstream,
    indexes: upstreamIndexes,
  }),
  connections: kind({
    ...GATEWAY_CONNECTION,
    group: GROUP,
    version: VERSION,
    trim: trimGatewayConnection,
    indexes: {},
  }),
  sets: kind({
    ...GATEWAY_UPSTREAM_SET,
    group: GROUP,
    version: VERSION,
    trim: trimGatewayUpstreamSet,
    indexes: {},
  }),
  namespaces: kind({
    group: '',
    version: 'v1',
    kind: 'Namespace',
    plural: 'namespaces',
    scope: 'Cluster',
    trim: trimNamespace,
    indexes: {},
  }),
  services: kind({
    group: '',
    version: 'v1',
    kind: 'Service',
    plural: 'services',
    scope: 'Namespaced',
    trim: trimService,
    indexes: serviceIndexes,
  }),
  slices: kind({
    group: 'discovery.k8s.io',
    version: 'v1',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    scope: 'Namespaced',
    trim: trimSlice,
    indexes: sliceIndexes,
  }),
  secrets: kind({
    group: '',
    version: 'v1',
    kind: 'Secret',
    plural: 'secrets',
    scope: 'Namespaced',
    trim: trimSecret,
    indexes: {},
  }),
  grants: kind({
    ...REFERENCE_GRANT,
    kind: 'ReferenceGrant',
    scope: 'Namespaced',
    trim: trimReferenceGrant,
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

/** Objects as the API server gives them. */
export type RawObjects = Readonly<Record<Exclude<KindName, OptionalKind>, readonly unknown[]>> & {
  /** Undefined: the API server does not serve them. */
  readonly [N in OptionalKind]: readonly unknown[] | undefined;
};

/** Kinds that need not be installed. */
type OptionalKind = 'grants' | 'sets';

export type Stores = {
  readonly [N in KindName]: StoreView<NonNullable<ReturnType<(typeof KINDS)[N]['trim']>>>;
};

/** Stores that hold `objects`, all of them known in full. */
export function storesOf(objects: RawObjects): Stores {
  return {
    upstreams: filled(KINDS.upstreams, objects.upstreams),
    connections: filled(KINDS.connections, objects.connections),
    sets: filled(KINDS.sets, objects.sets),
    namespaces: filled(KINDS.namespaces, objects.namespaces),
    services: filled(KINDS.services, objects.services),
    slices: filled(KINDS.slices, objects.slices),
    secrets: filled(KINDS.secrets, objects.secrets),
    grants: filled(KINDS.grants, objects.grants),
  };
}

function filled<T extends Stored>(
  { trim, indexes }: Pick<Kind<T>, 'trim' | 'indexes'>,
  raw: readonly unknown[] | undefined,
) {
  const store = createStore<T>({
    indexes,
    reportListenerError: (error) => {
      throw error;
    },
  });
  store.replaceAll((raw ?? []).flatMap((value) => trim(value) ?? []));
  store.setState({ state: raw === undefined ? 'absent' : 'synced' });
  return store;
}
