import type { GatewayConnectionStatus } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSetStatus } from '../api/gateway-upstream-set.ts';
import type { GatewayUpstreamStatus } from '../api/gateway-upstream-status.ts';
import type { ServiceRegistryStatus } from '../api/service-registry.ts';
import type {
  ConnectionOutcome,
  EndpointsOutcome,
  ExcludedEndpoint,
  PlanOutcome,
  RegistryOutcome,
  SetCounts,
  SetOutcome,
  UpstreamOutcome,
} from '../model/outcome.ts';
import type { Verdict, Verdicts } from '../model/verdict.ts';
import { formatPlace } from './diff.ts';
import { kubeTime, nextConditions, progressConditions, shorten } from './status.ts';

/** The status of an object of any kind. */
export type Status =
  | GatewayUpstreamStatus
  | GatewayConnectionStatus
  | GatewayUpstreamSetStatus
  | ServiceRegistryStatus;

/** The input of a new status in addition to the outcome. */
export interface StatusContext {
  /** The last status. */
  readonly previous: Status | undefined;
  /** The generation of the reconciled object. */
  readonly generation: number;
  /** The current time, RFC 3339; called only if a condition changed. */
  readonly now: () => string;
}

/** The limit in the CRD. */
const MAX_LEFT_BEHIND = 256;
const MAX_CHANGE_LENGTH = 512;
const MAX_VERSION = 64;

export function upstreamStatus(
  { previous, generation, now }: StatusContext,
  outcome: UpstreamOutcome,
): GatewayUpstreamStatus {
  const { accepted, resolvedRefs, programmed, ready, upstreamId, createTime, endpoints, plan, removalHeld } =
    outcome;
  const before = dataPlanesBefore(previous);
  const dataPlanes = before !== undefined && 'current' in before ? before : undefined;
  return {
    observedGeneration: generation,
    ...(upstreamId === undefined ? {} : { upstreamId }),
    ...(createTime === undefined ? {} : { upstreamCreateTime: kubeTime(createTime * 1000) }),
    ...(endpoints === undefined ? endpointsBefore(previous) : endpointsStatus(endpoints)),
    ...(plan === undefined ? {} : { plan: planStatus(plan) }),
    ...(dataPlanes === undefined ? {} : { dataPlanes }),
    conditions: nextConditions(
      previous?.conditions,
      [
        ['Ready', ready],
        ['Accepted', accepted],
        ['ResolvedRefs', resolvedRefs],
        ['Programmed', programmed],
        ...removalHeldCondition(previous, removalHeld),
        ...progressConditions(ready),
      ],
      generation,
      now,
    ),
  };
}

/** The endpoint fields of a status. */
type EndpointsStatus = Pick<GatewayUpstreamStatus, 'endpoints' | 'excluded' | 'warnings'>;

function endpointsStatus({ counts, excluded, warnings }: EndpointsOutcome): EndpointsStatus {
  const all = counts.ready + counts.draining + counts.excluded + counts.held;
  return {
    endpoints: { summary: `${counts.ready}/${all}`, ...counts },
    ...(excluded.length === 0 ? {} : { excluded: excluded.map(excludedStatus) }),
    ...(warnings.length === 0 ? {} : { warnings: [...warnings] }),
  };
}

function excludedStatus({ host, port, reason }: ExcludedEndpoint): {
  address: string;
  reason: ExcludedEndpoint['reason'];
} {
  return { address: port === undefined ? host : formatPlace({ host, port }), reason };
}

function endpointsBefore(previous: Status | undefined): EndpointsStatus {
  if (previous === undefined || !('endpoints' in previous)) return {};
  const { endpoints, excluded, warnings } = previous;
  return {
    ...(endpoints === undefined ? {} : { endpoints }),
    ...(excluded === undefined ? {} : { excluded }),
    ...(warnings === undefined ? {} : { warnings }),
  };
}

function removalHeldCondition(
  previous: Status | undefined,
  removalHeld: UpstreamOutcome['removalHeld'],
): Verdicts {
  if (removalHeld === 'nothing') return [];
  const before = previous?.conditions?.find(({ type }) => type === 'RemovalHeld');
  const kept: Verdict | undefined = before === undefined ? undefined : { ...before, reason: 'RemovalHeld' };
  const verdict = removalHeld ?? kept;
  return verdict === undefined ? [] : [['RemovalHeld', verdict]];
}

function planStatus({ action, changes, more }: PlanOutcome): GatewayUpstreamStatus['plan'] {
  return {
    action,
    ...(changes.length === 0 ? {} : { changes: changes.map((line) => shorten(line, MAX_CHANGE_LENGTH)) }),
    ...(more === 0 ? {} : { more }),
  };
}

export function connectionStatus(
  { previous, generation, now }: StatusContext,
  outcome: ConnectionOutcome,
): GatewayConnectionStatus {
  const { reachable, authorized, ready, gatewayVersion, capabilities, upstreams, leftBehind } = outcome;
  const before = dataPlanesBefore(previous);
  const kept = before !== undefined && 'reachable' in before ? before : undefined;
  const dataPlanes = outcome.dataPlanes === 'unknown' ? kept : outcome.dataPlanes;
  return {
    observedGeneration: generation,
    ...(gatewayVersion === undefined ? {} : { gatewayVersion }),
    ...(capabilities.length === 0 ? {} : { capabilities: [...capabilities] }),
    upstreams,
    ...(leftBehind.length === 0 ? {} : { leftBehind: leftBehind.slice(0, MAX_LEFT_BEHIND) }),
    ...(dataPlanes === undefined ? {} : { dataPlanes }),
    conditions: nextConditions(
      previous?.conditions,
      [['Ready', ready], ['Reachable', reachable], ['Authorized', authorized], ...progressConditions(ready)],
      generation,
      now,
    ),
  };
}

/** A status of a registry without a problem shows its last complete answer this exactly, so that it is rarely written. */
const ANSWER_TIME_MS = 300_000;

export function registryStatus(
  { previous, generation, now }: StatusContext,
  {
    reachable,
    authorized,
    ready,
    version,
    api,
    users,
    followedServices,
    lastCompleteAnswerAt,
  }: RegistryOutcome,
): ServiceRegistryStatus {
  const lastCompleteAnswerTime = answerTime(previous, lastCompleteAnswerAt, ready.status === 'True');
  return {
    observedGeneration: generation,
    ...(version === undefined ? {} : { version: shorten(version, MAX_VERSION) }),
    ...(api === undefined ? {} : { api }),
    users,
    followedServices,
    ...(lastCompleteAnswerTime === undefined ? {} : { lastCompleteAnswerTime }),
    conditions: nextConditions(
      previous?.conditions,
      [['Ready', ready], ['Reachable', reachable], ['Authorized', authorized], ...progressConditions(ready)],
      generation,
      now,
    ),
  };
}

function answerTime(
  previous: Status | undefined,
  at: number | undefined,
  isReady: boolean,
): string | undefined {
  const before =
    previous !== undefined && 'lastCompleteAnswerTime' in previous
      ? previous.lastCompleteAnswerTime
      : undefined;
  if (at === undefined) return before;
  const isRecent = before !== undefined && Math.abs(at - Date.parse(before)) < ANSWER_TIME_MS;
  return isReady && isRecent ? before : kubeTime(at);
}

function dataPlanesBefore(previous: Status | undefined) {
  return previous !== undefined && 'dataPlanes' in previous ? previous.dataPlanes : undefined;
}

export function setStatus(
  { previous, generation, now }: StatusContext,
  { ready, pruningHeld, counts }: SetOutcome,
): GatewayUpstreamSetStatus {
  return {
    observedGeneration: generation,
    ...(counts === undefined ? countsBefore(previous) : countsStatus(counts)),
    conditions: nextConditions(
      previous?.conditions,
      [
        ['Ready', ready],
        ...(pruningHeld === undefined ? [] : [['PruningHeld', pruningHeld] as const]),
        ...progressConditions(ready),
      ],
      generation,
      now,
    ),
  };
}

function countsStatus({
  services,
  ports,
  upstreams,
  waiting,
  problems,
  moreProblems,
}: SetCounts): Omit<GatewayUpstreamSetStatus, 'conditions'> {
  return {
    services,
    ports,
    upstreams,
    ...(waiting === 0 ? {} : { pruning: { waiting } }),
    ...(problems.length === 0 ? {} : { problems: [...problems] }),
    ...(moreProblems === 0 ? {} : { moreProblems }),
  };
}

function countsBefore(previous: Status | undefined): Omit<GatewayUpstreamSetStatus, 'conditions'> {
  if (previous === undefined || !('services' in previous)) return {};
  const { observedGeneration: _generation, conditions: _conditions, ...counts } = previous;
  return counts;
}
