import type { Catalog } from '../../catalog.ts';
import type { FieldChange, NodeChange } from '../../decide/diff.ts';
import type { GatewayFormat } from '../../gateways/driver.ts';
import type { GatewayInfo } from '../../model/gateway.ts';
import type { ObservedUpstream, UpstreamId, UpstreamNode } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Stores } from './kinds.ts';

/** What is known of the gateway of one connection. */
export type GatewayLook =
  | {
      readonly kind: 'listed';
      readonly canonical: GatewayFormat['canonical'];
      /** Empty where it is not known. */
      readonly info: GatewayInfo;
      readonly read: GatewayFormat['read'];
      readonly upstreams: ReadonlyMap<UpstreamId, ObservedUpstream>;
    }
  | { readonly kind: 'failed'; readonly message: string };

export interface PlanInput {
  readonly catalog: Pick<Catalog, 'schemas' | 'vendor'>;
  readonly stores: Stores;
  /** The only namespaces whose objects are in `stores`. Empty: all. */
  readonly onlyNamespaces: readonly string[];
  readonly clusterId: string;
  /** By connection. */
  readonly gateways: ReadonlyMap<string, GatewayLook>;
  /** `NAMESPACE` or `NAMESPACE/NAME`: what to tell of. Empty: everything. */
  readonly only: readonly string[];
  /** Wall clock, milliseconds. */
  readonly now: number;
}

/**
 * What the operator would do now. Stable, apart from fields that are added: this is what `-o json` and `-o yaml` print.
 */
export interface Plan {
  readonly summary: Readonly<Record<Lowercase<PlannedUpstream['action']>, number>> & {
    /** Upstreams with a condition that is not True. */
    readonly problems: number;
  };
  /** In the order of names. */
  readonly gateways: readonly PlannedGateway[];
  /** In the order of connection, object and id. */
  readonly upstreams: readonly PlannedUpstream[];
}

export interface PlannedGateway {
  readonly connection: string;
  /** Whether what it holds is known; without that nothing can be said of its upstreams. */
  readonly known: boolean;
  /** Why it is not. */
  readonly message?: string;
}

export interface PlannedUpstream {
  readonly connection: string;
  /** Absent where there is none, since the object is refused. */
  readonly upstreamId?: UpstreamId;
  /** The GatewayUpstream; of a forgotten upstream the one that its labels name. */
  readonly object: { readonly namespace: string; readonly name: string };
  /**
   * - `None`: nothing is written.
   * - `Observe`: nothing is written, since `spec.syncPolicy` says so; `nodes` and `fields` tell what Sync would do.
   * - `Unknown`: what the gateway holds is not known.
   */
  readonly action: 'None' | 'Create' | 'Update' | 'Delete' | 'Observe' | 'Unknown';
  /** For people. */
  readonly why: string;
  /** In the order of host and port. */
  readonly nodes: readonly PlannedNode[];
  /** In the order of names, in the gateway's own words; secrets are not shown. */
  readonly fields: readonly FieldChange[];
  /** What the removal guard keeps; absent where it keeps nothing. */
  readonly held?: {
    readonly nodes: readonly (UpstreamNode & { readonly why: string })[];
    /** RFC 3339. */
    readonly since: string;
    /** RFC 3339: when some of it may go; absent: when somebody accepts it. */
    readonly until?: string;
  };
  /** What `Ready` and the conditions that it sums up would say, where that is not plainly that all is well. */
  readonly conditions: readonly ({ readonly type: string } & Verdict)[];
}

export type PlannedNode = NodeChange & {
  /** For people; absent where only the share of a backend changes. */
  readonly why?: string;
};
