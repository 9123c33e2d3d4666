import type { Stored } from './store-view.ts';

/**
 * What is wrong while a permission is missing. A tenant sees only what concerns the upstreams; every missing permission is
 * reported on the GatewayConnections, which belong to the platform team. `references`: upstreams that refer to another
 * namespace. `certificates`: upstreams that refer to a Secret. `sets`: which GatewayUpstreams there are, for
 * GatewayUpstreamSets.
 */
export type Affected = 'connections' | 'references' | 'certificates' | 'sets' | 'everything';

/** What the operator may do with a kind that it follows. */
export interface ResourcePermission {
  readonly verbs: readonly string[];
  readonly subresource?: string;
  readonly affects: Affected;
}

/** A kind that the operator follows: where it is, and the permissions that it needs. */
export interface FollowedKind {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** Served where `version` is not; of the same shape. */
  readonly olderVersion?: string;
  readonly kind: string;
  readonly plural: string;
  readonly scope: 'Namespaced' | 'Cluster';
  /** Followed only there. Absent: in the whole cluster, or in every namespace that the operator follows. */
  readonly within?: 'operatorNamespace' | 'secretNamespaces';
  /** The kind need not be installed. */
  readonly optional?: true;
  /** The switch of the configuration that includes it. Absent: it is always followed. */
  readonly enabledBy?: 'watchNodes' | 'readEndpoints';
  /** What the log and readiness call it. Absent: its plural. */
  readonly name?: string;
  /** Label and field selectors. */
  readonly query?: Readonly<Record<string, string>>;
  readonly permissions: readonly ResourcePermission[];
}

/** With what the operator keeps of its objects. */
export interface FollowedResource<T extends Stored> extends FollowedKind {
  /** Undefined for an object that the operator ignores. Throws for one that it cannot read. */
  readonly transform: (raw: unknown) => T | undefined;
  /** Of each object, as in `RequestSettings`; `transform` must know such objects. Absent: any number. */
  readonly maxValues?: number;
  /** Stands for an object that `transform` threw for. */
  readonly unreadable?: (raw: unknown, why: string) => T | undefined;
  readonly indexes: Readonly<Record<string, (object: T) => readonly string[]>>;
}

/** The permission to follow a kind. */
export function followed(affects: Affected = 'everything'): readonly ResourcePermission[] {
  return [{ verbs: ['list', 'watch'], affects }];
}
