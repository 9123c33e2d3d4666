import { z } from 'zod';

/** A service of one namespace and group. */
export interface ServiceScope {
  readonly namespaceId: string;
  readonly group: string;
  readonly service: string;
}

/** A list that an API answers. */
export interface InstanceList {
  /** After the context path. */
  readonly path: string;
  readonly parameters: (scope: ServiceScope) => Readonly<Record<string, string>>;
  /** The member of the answer that has the instances. */
  readonly member: string;
  /** A complete answer, with an empty list in place of the instances. */
  readonly rest: z.ZodType;
}

/** One generation of Nacos' HTTP API. */
export interface ApiVersion {
  readonly name: 'v3' | 'v1';
  /** Of the login, after the context path. */
  readonly loginPath: string;
  /** The instances of all clusters, without those that are disabled: no API for clients lists them. */
  readonly list: InstanceList;
  /** The instances of one cluster, with those that are disabled. It needs the same permission, for the same service. */
  readonly listCluster: (cluster: string) => InstanceList;
  /** The state of the server, which needs no login. */
  readonly statePath: string;
  readonly state: z.ZodType<string>;
}

/**
 * Matches every cluster: Nacos splits the parameter at its commas and finds no name. Without the parameter the lists of v3 have
 * only the cluster DEFAULT.
 */
const ALL_CLUSTERS = ',';
/** The older list of a cluster has pages. */
const LARGEST_PAGE = 100_000;

const emptied = z.array(z.unknown()).length(0);
const success = z.object({ code: z.literal(0), data: emptied });
const version = z.string().min(1).max(64);

/** The newest first. v3 exists since Nacos 3.0. Every server that has v2 also has v1; Nacos 3.2 removed both. */
export const API_VERSIONS: readonly [ApiVersion, ...ApiVersion[]] = [
  {
    name: 'v3',
    loginPath: '/v3/auth/user/login',
    list: {
      path: '/v3/client/ns/instance/list',
      parameters: (scope) => ({ ...parametersOf(scope), clusterName: ALL_CLUSTERS }),
      member: 'data',
      rest: success,
    },
    listCluster: (cluster) => ({
      path: '/v3/admin/ns/instance/list',
      parameters: (scope) => ({ ...parametersOf(scope), clusterName: cluster }),
      member: 'data',
      rest: success,
    }),
    statePath: '/v3/admin/core/state',
    state: z.object({ data: z.object({ version }) }).transform(({ data }) => data.version),
  },
  {
    name: 'v1',
    loginPath: '/v1/auth/login',
    list: {
      path: '/v1/ns/instance/list',
      parameters: parametersOf,
      member: 'hosts',
      rest: z.object({ hosts: emptied }),
    },
    listCluster: (cluster) => ({
      path: '/v1/ns/catalog/instances',
      parameters: ({ namespaceId, group, service }) => ({
        namespaceId,
        serviceName: `${group}@@${service}`,
        clusterName: cluster,
        pageNo: '1',
        pageSize: `${LARGEST_PAGE}`,
      }),
      member: 'list',
      rest: z.object({ list: emptied }),
    }),
    statePath: '/v1/console/server/state',
    state: z.object({ version }).transform((body) => body.version),
  },
];

/** The list of one cluster for clients of v3, without instances that are disabled. */
export function enabledInCluster(cluster: string): InstanceList {
  return {
    path: '/v3/client/ns/instance/list',
    parameters: (scope) => ({ ...parametersOf(scope), clusterName: cluster }),
    member: 'data',
    rest: success,
  };
}

function parametersOf({ namespaceId, group, service }: ServiceScope): Readonly<Record<string, string>> {
  return { namespaceId, groupName: group, serviceName: service };
}
