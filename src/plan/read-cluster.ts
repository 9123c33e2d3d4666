import { listAll } from '../kube/list-all.ts';
import { type KubeTransport, resourcePath } from '../kube/transport.ts';
import { KINDS, type KindName, type RawObjects, versionsOf } from './kinds.ts';
import { PlanError } from './plan-error.ts';

export interface ClusterView {
  readonly transport: KubeTransport;
  /** The only namespaces to look at. Empty: all. */
  readonly namespaces: readonly string[];
  /** Where the Secrets of connections are. */
  readonly operatorNamespace: string;
  /** Whether they are needed: not where the gateway itself is not asked. */
  readonly withSecrets: boolean;
}

/** Lists every kind once, with the rights that the operator has. Rejects with `KubeApiError` or `PlanError`. */
export async function readCluster(view: ClusterView, signal: AbortSignal): Promise<RawObjects> {
  const list = async (name: KindName, query: Readonly<Record<string, string>> = {}) => {
    const { group, version, plural } = KINDS[name];
    const items = await listKind(view, name, version, query, signal);
    if (items !== undefined) return items;
    // Not the same as none: a missing CRD says nothing about what should become of the upstreams.
    throw new PlanError(
      `the API server does not serve ${plural}${group === '' ? '' : `.${group}`}: gateway-upstream-operator install --crds-only`,
    );
  };
  const listGrants = async () => {
    for (const version of versionsOf('grants')) {
      const items = await listKind(view, 'grants', version, {}, signal);
      if (items !== undefined) return items;
    }
    return undefined;
  };
  const [upstreams, connections, sets, namespaces, services, slices, secrets, grants] = await Promise.all([
    list('upstreams'),
    list('connections'),
    listKind(view, 'sets', KINDS.sets.version, {}, signal),
    list('namespaces'),
    list('services'),
    list('slices', { labelSelector: 'kubernetes.io/service-name' }),
    view.withSecrets ? list('secrets', { fieldSelector: 'type!=helm.sh/release.v1' }) : [],
    listGrants(),
  ]);
  return { upstreams, connections, sets, namespaces, services, slices, secrets, grants };
}

/** Undefined where the API server does not serve that version. */
async function listKind(
  { transport, namespaces, operatorNamespace }: ClusterView,
  name: KindName,
  version: string,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<readonly unknown[] | undefined> {
  const { group, plural, scope } = KINDS[name];
  const resource = { group, version, plural };
  const within = name === 'secrets' ? [operatorNamespace] : namespaces;
  const places =
    scope === 'Cluster' || within.length === 0
      ? [resource]
      : within.map((namespace) => ({ ...resource, namespace }));
  const lists = await Promise.all(
    places.map((place) => listAll(transport, resourcePath(place), query, signal)),
  );
  return lists.includes(undefined) ? undefined : lists.flatMap((items) => items ?? []);
}
