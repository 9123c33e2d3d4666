import { METRICS } from '../api/metrics.ts';
import type { LeaderElection, LeaseStatus } from '../kube/leader.ts';
import { describePermission, type Permission, type PermissionMonitor } from '../kube/permissions.ts';
import type { Reflector } from '../kube/reflector.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Metrics, Sample } from '../runtime/metrics.ts';
import type { ReadinessCheck } from '../runtime/ops-server.ts';

/** A watch that delivers no data (bookmarks included) for this long makes the operator unready. */
const WATCH_SILENT_MS = 240_000;

/** Input of readiness, metrics and `/debug/state`. */
export interface OperatorState {
  readonly checks: readonly ReadinessCheck[];
  readonly reflectors: readonly Reflector[];
  readonly isLeader: () => boolean;
  readonly lease: () => LeaseStatus | undefined;
  readonly missing: () => readonly Permission[];
  readonly depths: () => readonly Sample[];
}

/** The checks of `/readyz`: every watch, the permissions and the Lease. */
export function readinessChecks(
  reflectors: readonly Reflector[],
  permissions: Pick<PermissionMonitor, 'problem'>,
  election: Pick<LeaderElection, 'problem' | 'leaseStatus'>,
): readonly ReadinessCheck[] {
  return [
    ...reflectors.map(watchCheck),
    { name: 'permissions', problem: () => permissions.problem() },
    { name: 'lease', problem: () => election.problem(), note: () => leaseNote(election.leaseStatus()) },
  ];
}

export function collectState(
  metrics: Metrics,
  { checks, reflectors, isLeader, missing, depths }: OperatorState,
): void {
  metrics.collect(METRICS.leader, () => [{ labels: {}, value: isLeader() ? 1 : 0 }]);
  metrics.collect(METRICS.readyCheck, () =>
    checks.map(({ name, problem }) => ({
      labels: { check: name },
      value: problem() === undefined ? 1 : 0,
    })),
  );
  metrics.collect(METRICS.permissionMissing, () =>
    missing().map((permission) => ({
      labels: {
        permission: describePermission(permission),
        role: `${permission.grantedBy.kind} ${permission.grantedBy.name}`,
        namespace: permission.namespace ?? '',
      },
      value: 1,
    })),
  );
  metrics.collect(METRICS.queueDepth, depths);
  const ofWatches = (value: (reflector: Reflector) => number) => () =>
    reflectors.map((reflector) => ({ labels: { watch: reflector.name }, value: value(reflector) }));
  metrics.collect(METRICS.watchAge, ofWatches(ageSeconds));
  metrics.collect(
    METRICS.watchLists,
    ofWatches((reflector) => reflector.health().lists),
  );
  metrics.collect(
    METRICS.watchStarts,
    ofWatches((reflector) => reflector.health().watches),
  );
}

/** The operator's part of `/debug/state`. The controller adds connections and upstreams. */
export function stateOf({ reflectors, isLeader, lease, depths }: OperatorState): object {
  return {
    leader: isLeader(),
    lease: lease(),
    watches: reflectors.map((reflector) => ({
      name: reflector.name,
      state: reflector.health().state,
      lastError: reflector.health().lastError,
      ageSeconds: ageSeconds(reflector),
    })),
    queues: depths(),
  };
}

/** The note at the `lease` check of `/readyz`: a standby replica is ready although it is idle. */
function leaseNote(status: LeaseStatus | undefined): string | undefined {
  if (status === undefined) return undefined;
  const { role, lease } = status;
  if (status.role === 'standby') return `standby, waiting for ${status.waitsFor}`;
  return role === 'leader' ? `leader, holds Lease ${lease}` : `lost Lease ${lease}, shutting down`;
}

/** Seconds since the API server last sent data, or since the process started if it never did. */
function ageSeconds(reflector: Reflector): number {
  return (systemClock.monotonic() - (reflector.health().lastContactAt ?? 0)) / 1000;
}

function watchCheck(reflector: Reflector): ReadinessCheck {
  return {
    name: reflector.name,
    problem: () => {
      const { state, lastContactAt, lastError } = reflector.health();
      const why = lastError === undefined ? '' : `: ${lastError}`;
      if (state !== 'synced' && !(state === 'absent' && reflector.optional)) return `${state}${why}`;
      const silentMs = systemClock.monotonic() - (lastContactAt ?? Number.NEGATIVE_INFINITY);
      return silentMs > WATCH_SILENT_MS
        ? `no data from the API server for ${Math.round(silentMs / 1000)} s${why}`
        : undefined;
    },
  };
}
