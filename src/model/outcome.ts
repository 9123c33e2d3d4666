import type { GatewayConnectionStatus } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSetStatus } from '../api/gateway-upstream-set.ts';
import type { ExcludedReason, GatewayUpstreamStatus } from '../api/gateway-upstream-status.ts';
import type { UpstreamId } from './upstream.ts';
import type { Verdict } from './verdict.ts';

/** The result of reconciling one GatewayUpstream. Status, Events and log lines are derived from it. */
export interface UpstreamOutcome {
  readonly accepted: Verdict;
  readonly resolvedRefs: Verdict;
  readonly programmed: Verdict;
  readonly ready: Verdict;
  readonly upstreamId?: UpstreamId;
  readonly createTime?: number;
  /** Absent if the endpoints are unknown: the status keeps its last value. */
  readonly endpoints?: EndpointsOutcome;
  /** The verdict of the removal guard. Absent if the guard was not evaluated: the condition does not change. */
  readonly removalHeld?: Verdict | 'nothing';
  /** With syncPolicy Observe: what would be written. */
  readonly plan?: PlanOutcome;
}

export interface EndpointsOutcome {
  readonly counts: {
    readonly ready: number;
    readonly draining: number;
    readonly excluded: number;
    readonly held: number;
  };
  readonly excluded: readonly ExcludedEndpoint[];
  readonly warnings: readonly ItemOf<GatewayUpstreamStatus['warnings']>[];
}

export interface ExcludedEndpoint {
  readonly host: string;
  /** Absent if unknown. */
  readonly port?: number;
  readonly reason: ExcludedReason;
}

export interface PlanOutcome {
  readonly action: NonNullable<GatewayUpstreamStatus['plan']>['action'];
  readonly changes: readonly string[];
  /** Number of changes that are not in `changes`. */
  readonly more: number;
}

/** The result of reconciling one GatewayConnection. */
export interface ConnectionOutcome {
  readonly reachable: Verdict;
  readonly authorized: Verdict;
  readonly ready: Verdict;
  readonly gatewayVersion: string | undefined;
  readonly capabilities: readonly ItemOf<GatewayConnectionStatus['capabilities']>[];
  readonly upstreams: number;
  readonly leftBehind: readonly string[];
  /** `unknown`: the status keeps its last value. */
  readonly dataPlanes: NonNullable<GatewayConnectionStatus['dataPlanes']> | 'unknown' | undefined;
}

/** The result of reconciling one ServiceRegistry. */
export interface RegistryOutcome {
  readonly reachable: Verdict;
  readonly authorized: Verdict;
  readonly ready: Verdict;
  readonly version: string | undefined;
  readonly api: string | undefined;
  readonly users: number;
  readonly followedServices: number;
  /** Wall clock, milliseconds. Undefined: the status keeps its last value. */
  readonly lastCompleteAnswerAt: number | undefined;
}

/** The result of reconciling one GatewayUpstreamSet. */
export interface SetOutcome {
  readonly ready: Verdict;
  readonly pruningHeld: Verdict | undefined;
  /** Absent if the set is not valid: the status keeps its last value. */
  readonly counts?: SetCounts;
}

export interface SetCounts {
  readonly services: number;
  readonly ports: number;
  readonly upstreams: number;
  /** Number of GatewayUpstreams whose deletion waits to be accepted. */
  readonly waiting: number;
  /** The first problems. */
  readonly problems: readonly ItemOf<GatewayUpstreamSetStatus['problems']>[];
  readonly moreProblems: number;
}

type ItemOf<List> = NonNullable<List> extends readonly (infer Item)[] ? Item : never;
