import type { Stored } from './store-view.ts';

/**
 * Which objects report a missing permission. GatewayConnections and ServiceRegistries, which belong to the platform team, report
 * every missing permission. Others report only those that affect them. `references`: GatewayUpstreams that refer to another namespace.
 * `certificates`: GatewayUpstreams that refer to a Secret. `registries`: GatewayUpstreams that refer to a ServiceRegistry.
 * `sets`: GatewayUpstreamSets.
 */
export type Affected = 'connections' | 'references' | 'certificates' | 'registries' | 'sets' | 'everything';

/** A permission on a kind that the operator watches. */
export interface ResourcePermission {
  readonly verbs: readonly string[];
  readonly subresource?: string;
  readonly affects: Affected;
}

/** A kind that the operator watches, and the permissions that this requires. */
export interface FollowedKind {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** Used if the API server does not serve `version`. Has the same schema. */
  readonly olderVersion?: string;
  readonly kind: string;
  readonly plural: string;
  readonly scope: 'Namespaced' | 'Cluster';
  /** Watched only in these namespaces. Absent: in the whole cluster, or in all watched namespaces. */
  readonly within?: 'operatorNamespace' | 'secretNamespaces';
  /** The kind may be missing in the cluster. */
  readonly optional?: true;
  /** The configuration key that enables it. Absent: it is always watched. */
  readonly enabledBy?: 'watchNodes' | 'readEndpoints' | 'watchRegistries';
  /** Name in the log and in readiness checks. Default: its plural. */
  readonly name?: string;
  /** Label and field selectors. */
  readonly query?: Readonly<Record<string, string>>;
  readonly permissions: readonly ResourcePermission[];
}

/** A watched kind with the stored form of its objects. */
export interface FollowedResource<T extends Stored> extends FollowedKind {
  /** Undefined for an object to ignore. Throws for an object that cannot be read. */
  readonly transform: (raw: unknown) => T | undefined;
  /** Limit per object, see `RequestSettings`. `transform` must handle objects that exceed it. Absent: no limit. */
  readonly maxValues?: number;
  /** The stored form of an object for which `transform` threw. */
  readonly unreadable?: (raw: unknown, why: string) => T | undefined;
  readonly indexes: Readonly<Record<string, (object: T) => readonly string[]>>;
}

/** The permission to watch a kind. */
export function followed(affects: Affected = 'everything'): readonly ResourcePermission[] {
  return [{ verbs: ['list', 'watch'], affects }];
}
