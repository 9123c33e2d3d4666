import { isDeepStrictEqual } from 'node:util';
import type { GatewayConnectionStatus } from '../../api/gateway-connection.ts';
import type { GatewayUpstreamStatus } from '../../api/gateway-upstream.ts';
import type { GatewayUpstreamSetStatus } from '../../api/gateway-upstream-set.ts';
import type { DataPlanesOfConnection, DataPlanesOfUpstream } from '../../decide/data-planes.ts';
import { formatPlace, type PlannedChange } from '../../decide/diff.ts';
import type { Excluded } from '../../decide/nodes.ts';
import { kubeTime, nextConditions, progressConditions, shorten } from '../../decide/status.ts';
import type { EventRecorder, KubeEvent } from '../../kube/event-recorder.ts';
import type { CustomKind, ObjectWriter } from '../../kube/object-writer.ts';
import type { Capability } from '../../model/gateway.ts';
import { type ObjectKey, objectKey } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream, GatewayUpstreamSet } from '../../model/objects.ts';
import type { Stored } from '../../model/store-view.ts';
import type { Verdict, Verdicts } from '../../model/verdict.ts';
import type { Clock } from '../../runtime/clock.ts';
import { PRIORITY } from '../../runtime/lane.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { Sample } from '../../runtime/metrics.ts';
import { type Pace, SLOW_CONCURRENCY } from '../../runtime/pace.ts';
import { WorkQueue } from '../../runtime/work-queue.ts';
import { depthSamples, type Instruments, STATUS_LANE } from '../instruments.ts';
import type { SetOutcome } from '../set/reconcile.ts';
import type { UpstreamOutcome } from '../upstream/reconcile.ts';

export interface ConnectionOutcome {
  readonly reachable: Verdict;
  readonly authorized: Verdict;
  readonly ready: Verdict;
  readonly gatewayVersion: string | undefined;
  readonly capabilities: readonly Capability[];
  readonly upstreams: number;
  readonly leftBehind: readonly string[];
  /** `unknown`: what was said last stays. */
  readonly dataPlanes: DataPlanesOfConnection | 'unknown' | undefined;
}

/** Turns outcomes into status, Events and log lines. The only writer of status. */
export interface Reporter {
  upstream(object: GatewayUpstream, outcome: UpstreamOutcome): void;
  connection(object: GatewayConnection, outcome: ConnectionOutcome): void;
  set(object: GatewayUpstreamSet, outcome: SetOutcome): void;
  /** The object as it is by now; only its status, or nothing that matters to a reconcile, changed. */
  seen(object: GatewayUpstream): void;
  /** What data planes serve of an upstream whose outcome was told before; everything else of its status stays. */
  dataPlanes(object: GatewayUpstream, dataPlanes: DataPlanesOfUpstream | undefined): void;
  event(object: GatewayUpstream | GatewayConnection, event: KubeEvent): void;
  /** The object is gone. */
  forget(kind: CustomKind, key: ObjectKey): void;
  /** Status writes that wait or run, as samples of a metric. */
  depths(): readonly Sample[];
  /** Writes nothing new and waits for what is under way. */
  close(): Promise<void>;
}

export interface ReporterOptions {
  readonly writer: ObjectWriter;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly backoffMs: (failures: number) => number;
  /** An object whose counts keep changing is written once in this time for the sake of counts alone. */
  readonly countsEveryMs: number;
  /** How many status writes may be under way at once. */
  readonly concurrency: number;
  readonly pace: Pace;
  readonly instruments: Pick<Instruments, 'waited' | 'statusWritten'>;
}

type Status = GatewayUpstreamStatus | GatewayConnectionStatus | GatewayUpstreamSetStatus;

/** Of any kind. */
type StatusField = Status extends infer S ? (S extends S ? keyof S : never) : never;

interface Tracked {
  readonly kind: CustomKind;
  object: Stored;
  /** What the API server holds or is being told; undefined where that is not known. */
  written: Status | undefined;
  /** What it should hold. */
  wanted: Status;
  /** When that changed last, monotonic. */
  changedAt: number;
  /** Monotonic times of the last writes, the latest last. */
  writtenAt: readonly number[];
  /** The summary that was announced last; undefined: none yet. */
  told: Summary | undefined;
}

/** Writes of one object at once within `countsEveryMs`: conditions that flap must not become as many writes. */
const BURST = 5;
/** Counts that have not changed for this long have settled. */
const SETTLED_MS = 1000;
/** Writes of settled counts before they wait for `countsEveryMs`, which each of them costs. */
const SETTLED_BURST = 3;
const NEVER_WRITTEN: readonly number[] = [];
/** As many as the CRD takes. */
const MAX_LEFT_BEHIND = 256;
const MAX_CHANGE_LENGTH = 512;

export function createReporter(options: ReporterOptions): Reporter {
  const { writer, events, clock, log, instruments } = options;
  const tracked = new Map<string, Tracked>();
  const now = () => kubeTime(clock.now());

  const queue = new WorkQueue({
    clock,
    backoffMs: options.backoffMs,
    onBegin: instruments.waited,
    pace: options.pace,
    onError: (key, err) => {
      const kind = tracked.get(key)?.kind;
      if (kind !== undefined) instruments.statusWritten(kind, 'failed');
      log.warn({ err, key }, 'writing a status failed; it is tried again');
    },
    run: async (key, signal) => {
      const entry = tracked.get(key);
      if (entry === undefined) return { kind: 'done' };
      const { wanted } = entry;
      if (isDeepStrictEqual(entry.written, wanted)) return { kind: 'done' };
      const delayMs = dueAt(entry) - clock.monotonic();
      if (delayMs > 0) return { kind: 'after', delayMs };
      // Before the answer: who wants meanwhile what was written before must not be taken for content.
      entry.written = wanted;
      try {
        await writer.applyStatus(entry.kind, entry.object, wanted, signal);
      } catch (error) {
        // Written or not, or later.
        entry.written = undefined;
        throw error;
      }
      instruments.statusWritten(entry.kind, 'written');
      entry.writtenAt = [...entry.writtenAt, clock.monotonic()].slice(-BURST);
      return { kind: 'done' };
    },
  });
  queue.setConcurrency(STATUS_LANE, options.concurrency, { slow: SLOW_CONCURRENCY });

  const want = (
    kind: CustomKind,
    object: Stored & { readonly status: Status | undefined },
    next: (previous: Status | undefined) => Status,
  ): { readonly previous: Status | undefined; readonly entry: Tracked } => {
    const key = trackedKey(kind, object);
    let entry = tracked.get(key);
    if (entry === undefined || entry.object.uid !== object.uid) {
      entry = {
        kind,
        object,
        written: object.status,
        wanted: object.status ?? {},
        changedAt: clock.monotonic(),
        writtenAt: NEVER_WRITTEN,
        told: toldBefore(kind, object.status),
      };
      tracked.set(key, entry);
    }
    const previous = entry.wanted;
    entry.object = object;
    entry.wanted = next(previous);
    if (entry.written !== undefined && isDeepStrictEqual(entry.wanted, entry.written)) {
      // One copy will do.
      entry.wanted = entry.written;
      return { previous, entry };
    }
    if (!isDeepStrictEqual(entry.wanted, previous)) entry.changedAt = clock.monotonic();
    const delayMs = dueAt(entry) - clock.monotonic();
    if (delayMs > 0) queue.addAfter(key, delayMs, STATUS_LANE, PRIORITY.resync);
    else queue.add(key, STATUS_LANE, isUrgent(entry) ? PRIORITY.spec : PRIORITY.resync);
    return { previous, entry };
  };

  /**
   * When the status may be written, monotonic. Counts of an object that was quiet are written at once, and again when they
   * have settled, so that they are right after a rollout; while they keep changing they wait for `countsEveryMs`.
   */
  function dueAt(entry: Tracked): number {
    const { writtenAt, changedAt } = entry;
    const lastBut = (writes: number) => writtenAt.at(-1 - writes) ?? Number.NEGATIVE_INFINITY;
    if (isUrgent(entry)) return lastBut(BURST - 1) + options.countsEveryMs;
    const settled = changedAt + SETTLED_MS;
    const paid = lastBut(SETTLED_BURST - 1) + SETTLED_BURST * options.countsEveryMs;
    return Math.min(lastBut(0) + options.countsEveryMs, Math.max(settled, paid));
  }

  return {
    upstream(object, outcome) {
      const { previous, entry } = want('GatewayUpstream', object, (before) =>
        upstreamStatus(before, object, outcome, now),
      );
      announce(entry, previous, outcome.ready);
      if (outcome.removalHeld !== 'nothing') announceHold(entry, previous, outcome.removalHeld);
    },

    connection(object, outcome) {
      const { previous, entry } = want('GatewayConnection', object, (before) =>
        connectionStatus(before, object, outcome, now),
      );
      announce(entry, previous, outcome.ready);
    },

    set(object, outcome) {
      const { previous, entry } = want('GatewayUpstreamSet', object, (before) =>
        setStatus(before, object, outcome, now),
      );
      announce(entry, previous, outcome.ready);
      announceHold(entry, previous, outcome.pruningHeld);
    },

    seen(object) {
      const entry = tracked.get(trackedKey('GatewayUpstream', object));
      if (entry === undefined || entry.object.uid !== object.uid) return;
      // The one before is not needed any more, and one copy of the status will do.
      entry.object = object;
      const { status } = object;
      if (status === undefined || !isDeepStrictEqual(entry.written, status)) return;
      if (entry.wanted === entry.written) entry.wanted = status;
      entry.written = status;
    },

    dataPlanes(object, dataPlanes) {
      want('GatewayUpstream', object, (before) => {
        const { dataPlanes: _dataPlanes, ...rest } = { dataPlanes: undefined, ...before };
        return dataPlanes === undefined ? rest : { ...rest, dataPlanes };
      });
    },

    event(object, event) {
      events.record('connection' in object ? 'GatewayUpstream' : 'GatewayConnection', object, event);
    },

    forget(kind, key) {
      tracked.delete(`${kind} ${key}`);
    },

    depths: () => depthSamples(queue.depths()),

    close: () => queue.drain(),
  };

  /** One log line and one Event where a guard begins to hold something; the condition is called as its reason. */
  function announceHold(
    { kind, object }: Tracked,
    previous: Status | undefined,
    held: Verdict | undefined,
  ): void {
    if (held === undefined) return;
    const { reason, message } = held;
    if (previous?.conditions?.some(({ type }) => type === reason) === true) return;
    const { namespace, name } = object;
    log.warn({ kind, namespace, name, reason }, message);
    events.record(kind, object, { type: 'Warning', reason, message });
  }

  /** One log line where the summary changed, and one Event where it is another one than was told last. */
  function announce(entry: Tracked, previous: Status | undefined, ready: Verdict): void {
    const { kind, object } = entry;
    const before = previous?.conditions?.find(({ type }) => type === 'Ready');
    if (!isSame(before, ready)) {
      const { namespace, name } = object;
      const level = ready.status === 'True' ? 'info' : 'warn';
      log[level]({ kind, namespace, name, reason: ready.reason }, ready.message);
    }
    if (isSame(entry.told, ready) || isToldOnce(kind, ready)) return;
    entry.told = ready;
    const { reason, message } = ready;
    events.record(kind, object, { type: ready.status === 'True' ? 'Normal' : 'Warning', reason, message });
  }
}

type Summary = Pick<Verdict, 'status'> & { readonly reason: string };

function isSame(a: Summary | undefined, b: Summary): boolean {
  return a?.status === b.status && a.reason === b.reason;
}

/** What stops every object of a gateway is told once, on the GatewayConnection, and so is its end. */
function isToldOnce(kind: CustomKind, { status, reason }: Summary): boolean {
  return kind === 'GatewayUpstream' && (status === 'Unknown' || reason === 'Unauthorized');
}

/** What an earlier process told of an object with this status. */
function toldBefore(kind: CustomKind, status: Status | undefined): Summary | undefined {
  const before = status?.conditions?.find(({ type }) => type === 'Ready');
  if (before === undefined || before.reason === 'Pending') return undefined;
  // Nobody knows any more what was told before the gateway failed: that all is well again is no news.
  return isToldOnce(kind, before) ? { status: 'True', reason: 'Ready' } : before;
}

function trackedKey(kind: CustomKind, { namespace, name }: Stored): string {
  return `${kind} ${objectKey(namespace, name)}`;
}

/** Whether more than counts and lists differ. */
function isUrgent({ written, wanted }: Pick<Tracked, 'written' | 'wanted'>): boolean {
  return !isDeepStrictEqual(withoutCounts(written), withoutCounts(wanted));
}

/** Fields that are counts and lists. */
const COUNTS: ReadonlySet<string> = new Set<StatusField>([
  'endpoints',
  'excluded',
  'warnings',
  'upstreams',
  'plan',
  'dataPlanes',
  'services',
  'ports',
  'pruning',
  'problems',
  'moreProblems',
]);

function withoutCounts(status: Status | undefined): object {
  return Object.fromEntries(Object.entries(status ?? {}).filter(([field]) => !COUNTS.has(field)));
}

function upstreamStatus(
  previous: Status | undefined,
  object: GatewayUpstream,
  outcome: UpstreamOutcome,
  now: () => string,
): GatewayUpstreamStatus {
  const { accepted, resolvedRefs, programmed, ready, upstreamId, createTime, endpoints, plan, removalHeld } =
    outcome;
  const before = dataPlanesBefore(previous);
  const dataPlanes = before !== undefined && 'current' in before ? before : undefined;
  return {
    observedGeneration: object.generation,
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
        ...heldCondition(previous, removalHeld),
        ...progressConditions(ready),
      ],
      object.generation,
      now,
    ),
  };
}

/** What is known of the endpoints. */
type EndpointsStatus = Pick<GatewayUpstreamStatus, 'endpoints' | 'excluded' | 'warnings'>;

function endpointsStatus({
  counts,
  excluded,
  warnings,
}: NonNullable<UpstreamOutcome['endpoints']>): EndpointsStatus {
  const all = counts.ready + counts.draining + counts.excluded + counts.held;
  return {
    endpoints: { summary: `${counts.ready}/${all}`, ...counts },
    ...(excluded.length === 0 ? {} : { excluded: excluded.map(excludedStatus) }),
    ...(warnings.length === 0 ? {} : { warnings: [...warnings] }),
  };
}

function excludedStatus({ host, port, reason }: Excluded): { address: string; reason: Excluded['reason'] } {
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

function heldCondition(previous: Status | undefined, removalHeld: UpstreamOutcome['removalHeld']): Verdicts {
  if (removalHeld === 'nothing') return [];
  const before = previous?.conditions?.find(({ type }) => type === 'RemovalHeld');
  const kept: Verdict | undefined = before === undefined ? undefined : { ...before, reason: 'RemovalHeld' };
  const verdict = removalHeld ?? kept;
  return verdict === undefined ? [] : [['RemovalHeld', verdict]];
}

function planStatus({ action, changes, more }: PlannedChange): GatewayUpstreamStatus['plan'] {
  return {
    action,
    ...(changes.length === 0 ? {} : { changes: changes.map((line) => shorten(line, MAX_CHANGE_LENGTH)) }),
    ...(more === 0 ? {} : { more }),
  };
}

function connectionStatus(
  previous: Status | undefined,
  object: GatewayConnection,
  outcome: ConnectionOutcome,
  now: () => string,
): GatewayConnectionStatus {
  const { reachable, authorized, ready, gatewayVersion, capabilities, upstreams, leftBehind } = outcome;
  const before = dataPlanesBefore(previous);
  const kept = before !== undefined && 'reachable' in before ? before : undefined;
  const dataPlanes = outcome.dataPlanes === 'unknown' ? kept : outcome.dataPlanes;
  return {
    observedGeneration: object.generation,
    ...(gatewayVersion === undefined ? {} : { gatewayVersion }),
    ...(capabilities.length === 0 ? {} : { capabilities: [...capabilities] }),
    upstreams,
    ...(leftBehind.length === 0 ? {} : { leftBehind: leftBehind.slice(0, MAX_LEFT_BEHIND) }),
    ...(dataPlanes === undefined ? {} : { dataPlanes }),
    conditions: nextConditions(
      previous?.conditions,
      [['Ready', ready], ['Reachable', reachable], ['Authorized', authorized], ...progressConditions(ready)],
      object.generation,
      now,
    ),
  };
}

function dataPlanesBefore(previous: Status | undefined) {
  return previous !== undefined && 'dataPlanes' in previous ? previous.dataPlanes : undefined;
}

function setStatus(
  previous: Status | undefined,
  object: GatewayUpstreamSet,
  { ready, pruningHeld, counts }: SetOutcome,
  now: () => string,
): GatewayUpstreamSetStatus {
  return {
    observedGeneration: object.generation,
    ...(counts === undefined ? countsBefore(previous) : countsStatus(counts)),
    conditions: nextConditions(
      previous?.conditions,
      [
        ['Ready', ready],
        ...(pruningHeld === undefined ? [] : [['PruningHeld', pruningHeld] as const]),
        ...progressConditions(ready),
      ],
      object.generation,
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
}: NonNullable<SetOutcome['counts']>): Omit<GatewayUpstreamSetStatus, 'conditions'> {
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
