import { listAll } from '../../kube/list-all.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { FollowedKind } from '../../model/followed-resource.ts';
import { type PlanResources, type RawObjects, versionsOf } from './kinds.ts';
import { PlanError } from './plan-error.ts';

export interface ClusterView {
  readonly transport: KubeTransport;
  /** The watched namespaces. Empty: all. */
  readonly namespaces: readonly string[];
  readonly watchNodes: boolean;
  readonly readEndpoints: boolean;
  /** Namespace of the Secrets that GatewayConnections and ServiceRegistries refer to. */
  readonly operatorNamespace: string;
  /** Whether the plan asks the gateways, which needs their admin keys. */
  readonly asksGateways: boolean;
  /** Whether the plan asks the registries, which needs their credentials. */
  readonly asksRegistries: boolean;
  /** Namespaces whose GatewayUpstreams may refer to Secrets. */
  readonly secretNamespaces: readonly string[];
}

/** Lists every kind once, within the permissions of the operator. Rejects with `KubeApiError` or `PlanError`. */
export async function readCluster(
  resources: PlanResources,
  view: ClusterView,
  signal: AbortSignal,
): Promise<RawObjects> {
  const { list, listIfServed } = listers(view, signal);
  const { operatorNamespace, secretNamespaces, asksGateways, asksRegistries } = view;
  /** Also lists the Secrets of gateways and registries, if the plan needs them. */
  const withCredentials = async (listed: Promise<readonly unknown[] | undefined> | undefined) => {
    const registries = await listed;
    const needsSecrets = asksGateways || (asksRegistries && (registries ?? []).length > 0);
    return [registries, needsSecrets ? await list(resources.secrets, [operatorNamespace]) : []] as const;
  };
  const [
    upstreams,
    connections,
    sets,
    namespaces,
    services,
    slices,
    grants,
    [registries, own],
    certificates,
    nodes,
    endpoints,
  ] = await Promise.all([
    list(resources.upstreams),
    list(resources.connections),
    listIfServed(resources.sets),
    list(resources.namespaces),
    list(resources.services),
    list(resources.slices),
    listIfServed(resources.grants),
    withCredentials(resources.registries && listIfServed(resources.registries)),
    secretNamespaces.length === 0 ? [] : list(resources.certificates, secretNamespaces),
    view.watchNodes ? list(resources.nodes) : undefined,
    view.readEndpoints ? list(resources.endpoints) : undefined,
  ]);
  const secrets = [...own, ...certificates];
  return {
    ...{ upstreams, connections, sets, namespaces, services, slices, secrets, grants, registries },
    ...(nodes === undefined ? {} : { nodes }),
    ...(endpoints === undefined ? {} : { endpoints }),
  };
}

function listers(
  { transport, namespaces }: Pick<ClusterView, 'transport' | 'namespaces'>,
  signal: AbortSignal,
) {
  return {
    /** Rejects with `PlanError` if the API server does not serve the kind. */
    async list(kind: FollowedKind, within = namespaces) {
      const { group, version, plural } = kind;
      const items = await listKind(transport, kind, { version, within }, signal);
      if (items !== undefined) return items;
      // A missing CRD is not the same as an empty list, which would delete all upstreams.
      throw new PlanError(
        `the API server does not serve ${plural}${group === '' ? '' : `.${group}`}: run gateway-upstream-operator install --crds-only`,
      );
    },

    /** Undefined if no version of the kind is served. */
    async listIfServed(kind: FollowedKind) {
      for (const version of versionsOf(kind)) {
        const items = await listKind(transport, kind, { version, within: namespaces }, signal);
        if (items !== undefined) return items;
      }
      return undefined;
    },
  };
}

/** Undefined if the API server does not serve the version. */
async function listKind(
  transport: KubeTransport,
  { group, plural, scope, query = {} }: FollowedKind,
  {
    version,
    within,
  }: {
    readonly version: string;
    /** Namespaces to list. Empty: all. */
    readonly within: readonly string[];
  },
  signal: AbortSignal,
): Promise<readonly unknown[] | undefined> {
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
