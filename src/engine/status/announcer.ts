import type { Status } from '../../decide/build-status.ts';
import type { EventRecorder } from '../../kube/event-recorder.ts';
import type { CustomKind } from '../../kube/object-writer.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { Report, Summary } from './report.ts';

/** Turns changes of conditions into Events and log lines. */
export class Announcer {
  readonly #events: EventRecorder;
  readonly #log: Logger;

  constructor(events: EventRecorder, log: Logger) {
    this.#events = events;
    this.#log = log;
  }

  /** Logs a change of the `Ready` condition, and records an Event if it differs from the last announced one. */
  summary(report: Report, previous: Status | undefined, ready: Verdict): void {
    const { kind, object } = report;
    const before = previous?.conditions?.find(({ type }) => type === 'Ready');
    if (!isSame(before, ready)) {
      const { namespace, name } = object;
      const level = ready.status === 'True' ? 'info' : 'warn';
      this.#log[level]({ kind, namespace, name, reason: ready.reason }, ready.message);
    }
    if (isSame(report.announced, ready) || isAnnouncedOnConnection(kind, ready)) return;
    report.announced = ready;
    const { reason, message } = ready;
    this.#events.record(kind, object, {
      type: ready.status === 'True' ? 'Normal' : 'Warning',
      reason,
      message,
    });
  }

  /** Logs and records an Event when a guard starts to keep nodes or objects. The condition type equals its reason. */
  guard({ kind, object }: Report, previous: Status | undefined, verdict: Verdict | undefined): void {
    if (verdict === undefined) return;
    const { reason, message } = verdict;
    if (previous?.conditions?.some(({ type }) => type === reason) === true) return;
    const { namespace, name } = object;
    this.#log.warn({ kind, namespace, name, reason }, message);
    this.#events.record(kind, object, { type: 'Warning', reason, message });
  }
}

function isSame(a: Summary | undefined, b: Summary): boolean {
  return a?.status === b.status && a.reason === b.reason;
}

/** A failure of a whole gateway, and its recovery, is announced only on the GatewayConnection. */
function isAnnouncedOnConnection(kind: CustomKind, { status, reason }: Summary): boolean {
  return kind === 'GatewayUpstream' && (status === 'Unknown' || reason === 'Unauthorized');
}

/** The summary that an earlier process announced, derived from the status. */
export function announcedBefore(kind: CustomKind, status: Status | undefined): Summary | undefined {
  const before = status?.conditions?.find(({ type }) => type === 'Ready');
  if (before === undefined || before.reason === 'Pending') return undefined;
  // The summary before the gateway failed is unknown. Its recovery is not announced on each upstream.
  return isAnnouncedOnConnection(kind, before) ? { status: 'True', reason: 'Ready' } : before;
}
