import type { GatewayConnectionStatus } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSetStatus } from '../api/gateway-upstream-set.ts';
import type { ExcludedReason, GatewayUpstreamStatus } from '../api/gateway-upstream-status.ts';
import type { UpstreamId } from './upstream.ts';
import type { Verdict } from './verdict.ts';

/** The result of reconciling one GatewayUpstream; its status, Events and log lines are made from it. */
export interface UpstreamOutcome {
  readonly accepted: Verdict;
  readonly resolvedRefs: Verdict;
  readonly programmed: Verdict;
  readonly ready: Verdict;
  readonly upstreamId?: UpstreamId;
  readonly createTime?: number;
  /** Absent where the endpoints are not known: the status keeps what was reported last. */
  readonly endpoints?: EndpointsOutcome;
  /** The verdict of the removal guard; absent where it was not asked: the condition stays as it is. */
  readonly removalHeld?: Verdict | 'nothing';
  /** What would be written, where nothing may be. */
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
  /** Absent where it is not known. */
  readonly port?: number;
  readonly reason: ExcludedReason;
}

export interface PlanOutcome {
  readonly action: NonNullable<GatewayUpstreamStatus['plan']>['action'];
  readonly changes: readonly string[];
  /** How many changes are not among them. */
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
  /** `unknown`: the status keeps what was reported last. */
  readonly dataPlanes: NonNullable<GatewayConnectionStatus['dataPlanes']> | 'unknown' | undefined;
}

/** The result of reconciling one GatewayUpstreamSet. */
export interface SetOutcome {
  readonly ready: Verdict;
  readonly pruningHeld: Verdict | undefined;
  /** Absent where the set cannot be used: the status keeps what was reported last. */
  readonly counts?: SetCounts;
}

export interface SetCounts {
  readonly services: number;
  readonly ports: number;
  readonly upstreams: number;
  /** How many GatewayUpstreams wait to be deleted. */
  readonly waiting: number;
  /** The first of them. */
  readonly problems: readonly ItemOf<GatewayUpstreamSetStatus['problems']>[];
  readonly moreProblems: number;
}

type ItemOf<List> = NonNullable<List> extends readonly (infer Item)[] ? Item : never;
