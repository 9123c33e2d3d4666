import { isDeepStrictEqual } from 'node:util';
import type { Status } from '../../decide/build-status.ts';
import type { ObjectWriter } from '../../kube/object-writer.ts';
import type { Clock } from '../../runtime/clock.ts';
import { PRIORITY } from '../../runtime/lane.ts';
import type { Logger } from '../../runtime/logger.ts';
import { type Pace, SLOW_CONCURRENCY } from '../../runtime/pace.ts';
import { type Result, WorkQueue } from '../../runtime/work-queue.ts';
import { type Instruments, STATUS_QUEUE } from '../instruments.ts';
import type { Report } from './report.ts';
import { type ReportKey, type Reports, reportKey } from './reports.ts';

export interface StatusQueueOptions {
  readonly writer: ObjectWriter;
  readonly clock: Clock;
  readonly log: Logger;
  readonly backoffMs: (failures: number) => number;
  /** Minimum milliseconds between two writes of an object if only counts change. */
  readonly countsEveryMs: number;
  /** Maximum number of concurrent status writes. */
  readonly concurrency: number;
  readonly pace: Pace;
  readonly instruments: Pick<Instruments, 'waited' | 'statusWritten'>;
}

/** Maximum number of writes of one object within `countsEveryMs`. It limits the writes of flapping conditions. */
const BURST = 5;
/** Counts that have not changed for this long are settled. */
const SETTLED_MS = 1000;
/** Number of writes of settled counts that may precede the limit of one per `countsEveryMs`. */
const SETTLED_BURST = 3;

/** Writes statuses: conditions immediately, counts and lists less often. */
export class StatusQueue {
  readonly #options: StatusQueueOptions;
  readonly #reports: Reports;
  readonly #queue: WorkQueue;

  constructor(options: StatusQueueOptions, reports: Reports) {
    const { clock, backoffMs, pace, instruments } = options;
    this.#options = options;
    this.#reports = reports;
    this.#queue = new WorkQueue({
      clock,
      backoffMs,
      pace,
      onBegin: instruments.waited,
      onError: (key, error) => this.#onError(key as ReportKey, error),
      run: (key, signal) => this.#write(key as ReportKey, signal),
    });
    this.#queue.setConcurrency(STATUS_QUEUE, options.concurrency, { slow: SLOW_CONCURRENCY });
  }

  /** Schedules the write of `report`, now or when it is due. */
  add(report: Report): void {
    const key = reportKey(report.kind, report.object);
    const delayMs = this.#dueAt(report) - this.#options.clock.monotonic();
    if (delayMs > 0) this.#queue.addAfter(key, delayMs, STATUS_QUEUE, PRIORITY.resync);
    else this.#queue.add(key, STATUS_QUEUE, isUrgent(report) ? PRIORITY.spec : PRIORITY.resync);
  }

  depths(): ReadonlyMap<string, number> {
    return this.#queue.depths();
  }

  /** Starts no new write and resolves when running writes have ended. */
  async drain(): Promise<void> {
    await this.#queue.drain();
  }

  #onError(key: ReportKey, err: unknown): void {
    const { instruments, log } = this.#options;
    const kind = this.#reports.get(key)?.kind;
    if (kind !== undefined) instruments.statusWritten(kind, 'failed');
    log.warn({ err, key }, 'status write failed; retrying');
  }

  async #write(key: ReportKey, signal: AbortSignal): Promise<Result> {
    const { writer, clock, instruments } = this.#options;
    const report = this.#reports.get(key);
    if (report === undefined) return { kind: 'done' };
    const { wanted } = report;
    if (isDeepStrictEqual(report.written, wanted)) return { kind: 'done' };
    const delayMs = this.#dueAt(report) - clock.monotonic();
    if (delayMs > 0) return { kind: 'after', delayMs };
    // Set before the response arrives, so that a status that equals an earlier one does not count as written meanwhile.
    report.written = wanted;
    report.isOwn = true;
    try {
      await writer.applyStatus(report.kind, report.object, wanted, signal);
    } catch (error) {
      // The result of the write is unknown.
      report.written = undefined;
      throw error;
    }
    instruments.statusWritten(report.kind, 'written');
    report.writtenAt = [...report.writtenAt, clock.monotonic()].slice(-BURST);
    return { kind: 'done' };
  }

  /**
   * When the status may be written (monotonic). The first change of counts is written immediately. Settled counts are written
   * early, so that they are right soon after a rollout. Counts that keep changing are written every `countsEveryMs`.
   */
  #dueAt(report: Report): number {
    const { countsEveryMs } = this.#options;
    const { writtenAt, changedAt } = report;
    const lastBut = (writes: number) => writtenAt.at(-1 - writes) ?? Number.NEGATIVE_INFINITY;
    if (isUrgent(report)) return lastBut(BURST - 1) + countsEveryMs;
    const settled = changedAt + SETTLED_MS;
    const paid = lastBut(SETTLED_BURST - 1) + SETTLED_BURST * countsEveryMs;
    return Math.min(lastBut(0) + countsEveryMs, Math.max(settled, paid));
  }
}

/** Whether more than counts and lists differ. */
function isUrgent({ written, wanted }: Report): boolean {
  return !isDeepStrictEqual(withoutCounts(written), withoutCounts(wanted));
}

/** A status field of any kind. */
type StatusField = Status extends infer S ? (S extends S ? keyof S : never) : never;

/** Status fields that contain counts and lists. */
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
  'users',
  'followedServices',
  'lastCompleteAnswerTime',
]);

function withoutCounts(status: Status | undefined): object {
  return Object.fromEntries(Object.entries(status ?? {}).filter(([field]) => !COUNTS.has(field)));
}
