import type { Catalog } from '../../catalog.ts';
import type { FieldChange, NodeChange } from '../../decide/diff.ts';
import type { GatewayFormat } from '../../gateways/driver.ts';
import type { GatewayInfo } from '../../model/gateway.ts';
import type { ObservedUpstream, UpstreamId, UpstreamNode } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Stores } from './kinds.ts';
import type { RegistryAnswers } from './registry-answers.ts';

/** The upstreams of a gateway, or why they could not be read. */
export type GatewayListing =
  | {
      readonly kind: 'listed';
      readonly canonical: GatewayFormat['canonical'];
      /** Empty if unknown. */
      readonly info: GatewayInfo;
      readonly read: GatewayFormat['read'];
      readonly upstreams: ReadonlyMap<UpstreamId, ObservedUpstream>;
    }
  | { readonly kind: 'failed'; readonly message: string };

export interface PlanInput {
  readonly catalog: Pick<Catalog, 'schemas' | 'vendor' | 'registryTypes'>;
  readonly stores: Stores;
  /** The watched namespaces. `stores` contains no objects of others. Empty: all. */
  readonly onlyNamespaces: readonly string[];
  readonly clusterId: string;
  /** By connection. */
  readonly gateways: ReadonlyMap<string, GatewayListing>;
  /** Absent: no registry was asked. */
  readonly registries?: RegistryAnswers;
  /** Objects to show: `NAMESPACE` or `NAMESPACE/NAME`. Empty: all. */
  readonly only: readonly string[];
  /** Wall clock, milliseconds. */
  readonly now: number;
}

/**
 * The changes that the operator would make now. `-o json` and `-o yaml` print this type, so fields may only be added.
 */
export interface Plan {
  readonly summary: Readonly<Record<Lowercase<PlannedUpstream['action']>, number>> & {
    /** Upstreams with a condition that is not True. */
    readonly problems: number;
  };
  /** Sorted by name. */
  readonly gateways: readonly PlannedGateway[];
  /** The ServiceRegistries that GatewayUpstreams use. Sorted by name. */
  readonly registries: readonly PlannedRegistry[];
  /** Sorted by connection, object and id. */
  readonly upstreams: readonly PlannedUpstream[];
}

export interface PlannedGateway {
  readonly connection: string;
  /** Whether the upstreams of the gateway could be read. If false, their action is `Unknown`. */
  readonly known: boolean;
  /** Why they could not be read. */
  readonly message?: string;
}

export interface PlannedRegistry {
  readonly registry: string;
  /** Whether it answered completely for all services. If false, the action of upstreams that use the others is `Unknown`. */
  readonly known: boolean;
  /** Why an answer is missing. */
  readonly message?: string;
}

export interface PlannedUpstream {
  readonly connection: string;
  /** Absent if the object is not accepted and therefore has no id. */
  readonly upstreamId?: UpstreamId;
  /** The GatewayUpstream. For an orphaned upstream, the owner according to its labels. */
  readonly object: { readonly namespace: string; readonly name: string };
  /**
   * - `None`: nothing is written.
   * - `Observe`: nothing is written because of `spec.syncPolicy`. `nodes` and `fields` show the changes of `Sync`.
   * - `Unknown`: the upstreams of the gateway, or a service of a registry, could not be read.
   */
  readonly action: 'None' | 'Create' | 'Update' | 'Delete' | 'Observe' | 'Unknown';
  /** For people; not stable. */
  readonly why: string;
  /** Sorted by host and port. */
  readonly nodes: readonly PlannedNode[];
  /** Sorted by name, in the gateway's format, without secrets. */
  readonly fields: readonly FieldChange[];
  /** Nodes kept by the removal guard. Absent if there are none. */
  readonly held?: {
    readonly nodes: readonly (UpstreamNode & { readonly why: string })[];
    /** RFC 3339. */
    readonly since: string;
    /** RFC 3339: when the guard releases the first nodes. Absent: only when the removal is accepted. */
    readonly until?: string;
  };
  /** Conditions that would not be `True`, and `Ready` with a reason other than `Ready`. */
  readonly conditions: readonly ({ readonly type: string } & Verdict)[];
}

export type PlannedNode = NodeChange & {
  /** For people. Absent if only the weight or the priority changes. */
  readonly why?: string;
};
