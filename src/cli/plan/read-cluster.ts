import { listAll } from '../../kube/list-all.ts';
import { CERTIFICATE_SECRETS, NO_HELM_RELEASES } from '../../kube/objects.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import { SLICES_OF_SERVICES, UNMANAGED_ENDPOINTS } from '../../sources/kubernetes/transform.ts';
import { KINDS, type KindName, type RawObjects, versionsOf } from './kinds.ts';
import { PlanError } from './plan-error.ts';

export interface ClusterView {
  readonly transport: KubeTransport;
  /** The only namespaces to look at. Empty: all. */
  readonly namespaces: readonly string[];
  readonly watchNodes: boolean;
  readonly readEndpoints: boolean;
  /** Where the Secrets of connections are. */
  readonly operatorNamespace: string;
  /** Whether they are needed: not where the gateway itself is not asked. */
  readonly withAdminKeys: boolean;
  /** Where the Secrets of GatewayUpstreams are. */
  readonly secretNamespaces: readonly string[];
}

/** Lists every kind once, with the rights that the operator has. Rejects with `KubeApiError` or `PlanError`. */
export async function readCluster(view: ClusterView, signal: AbortSignal): Promise<RawObjects> {
  const list = async (
    name: KindName,
    query: Readonly<Record<string, string>> = {},
    within = view.namespaces,
  ) => {
    const { group, version, plural } = KINDS[name];
    const items = await listKind(view.transport, name, { version, query, within }, signal);
    if (items !== undefined) return items;
    // Not the same as none: a missing CRD says nothing about what should become of the upstreams.
    throw new PlanError(
      `the API server does not serve ${plural}${group === '' ? '' : `.${group}`}: gateway-upstream-operator install --crds-only`,
    );
  };
  /** Undefined where no version of it is served. */
  const listIfServed = async (name: KindName) => {
    for (const version of versionsOf(name)) {
      const look = { version, query: {}, within: view.namespaces };
      const items = await listKind(view.transport, name, look, signal);
      if (items !== undefined) return items;
    }
    return undefined;
  };
  const { operatorNamespace, secretNamespaces, withAdminKeys } = view;
  const [
    upstreams,
    connections,
    sets,
    namespaces,
    services,
    slices,
    grants,
    own,
    certificates,
    nodes,
    endpoints,
  ] = await Promise.all([
    list('upstreams'),
    list('connections'),
    listIfServed('sets'),
    list('namespaces'),
    list('services'),
    list('slices', SLICES_OF_SERVICES),
    listIfServed('grants'),
    withAdminKeys ? list('secrets', NO_HELM_RELEASES, [operatorNamespace]) : [],
    secretNamespaces.length === 0 ? [] : list('secrets', CERTIFICATE_SECRETS, secretNamespaces),
    view.watchNodes ? list('nodes') : undefined,
    view.readEndpoints ? list('endpoints', UNMANAGED_ENDPOINTS) : undefined,
  ]);
  const secrets = [...own, ...certificates];
  return {
    ...{ upstreams, connections, sets, namespaces, services, slices, secrets, grants },
    ...(nodes === undefined ? {} : { nodes }),
    ...(endpoints === undefined ? {} : { endpoints }),
  };
}

/** Undefined where the API server does not serve that version. */
async function listKind(
  transport: KubeTransport,
  name: KindName,
  {
    version,
    query,
    within,
  }: {
    readonly version: string;
    readonly query: Readonly<Record<string, string>>;
    /** Namespaces. Empty: all. */
    readonly within: readonly string[];
  },
  signal: AbortSignal,
): Promise<readonly unknown[] | undefined> {
  const { group, plural, scope } = KINDS[name];
  const resource = { group, version, plural };
  const places =
    scope === 'Cluster' || within.length === 0
      ? [resource]
      : within.map((namespace) => ({ ...resource, namespace }));
  const lists = await Promise.all(
    places.map((place) => listAll(transport, resourcePath(place), query, signal)),
  );
  return lists.includes(undefined) ? undefined : lists.flatMap((items) => items ?? []);
}
