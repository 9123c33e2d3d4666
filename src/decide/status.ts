import { STALLED } from '../api/conditions.ts';
import { type Condition, NEVER } from '../api/schema.ts';
import type { Verdict, Verdicts } from '../model/verdict.ts';

const MAX_MESSAGE = 1024;

/** The summary: the first of `parts` that is not True, else `whole`. */
export function summarize(parts: readonly Verdict[], whole: Verdict): Verdict {
  return parts.find((part) => part.status !== 'True') ?? whole;
}

/** The summary of an object that depends on a right that the operator lacks: whatever else is said may be out of date. */
export function missingVerdict(message: string | undefined): Verdict | undefined {
  return message === undefined ? undefined : { status: 'False', reason: 'PermissionMissing', message };
}

/**
 * kstatus' two abnormal conditions for a summary, each present only while it is true: `Stalled` where only a change of
 * some object helps, `Reconciling` where the operator goes on trying.
 */
export function progressConditions(ready: Verdict): Verdicts {
  if (ready.status === 'True') return [];
  const type = STALLED.has(ready.reason) ? 'Stalled' : 'Reconciling';
  return [[type, { status: 'True', reason: ready.reason, message: ready.message }]];
}

/**
 * Conditions for `verdicts`. `lastTransitionTime` is kept from `previous` where the status is the same.
 *
 * @param now RFC 3339, whole seconds as metav1.Time. Asked only where something changed.
 */
export function nextConditions(
  previous: readonly Condition[] | undefined,
  verdicts: Verdicts,
  observedGeneration: number,
  now: () => string,
): Condition[] {
  return verdicts.map(([type, verdict]) => {
    const before = previous?.find((condition) => condition.type === type);
    return {
      type,
      status: verdict.status,
      observedGeneration,
      lastTransitionTime:
        before?.status === verdict.status && before.lastTransitionTime !== NEVER
          ? before.lastTransitionTime
          : now(),
      reason: verdict.reason,
      message: boundedMessage(verdict.message),
    };
  });
}

/** Since when the condition `type` is True, wall clock; undefined: it is not. */
export function trueSince(conditions: readonly Condition[] | undefined, type: string): number | undefined {
  const condition = conditions?.find((one) => one.type === type);
  return condition?.status === 'True' ? Date.parse(condition.lastTransitionTime) : undefined;
}

/** `message`, cut to what a status holds. */
export function boundedMessage(message: string): string {
  return shorten(message, MAX_MESSAGE);
}

/** `text` in at most `length` UTF-16 units, cut between characters. */
export function shorten(text: string, length: number): string {
  if (text.length <= length) return text;
  return `${text.slice(0, length - 3).replace(/[\ud800-\udbff]$/, '')}...`;
}

/** RFC 3339 with whole seconds, as metav1.Time writes it. */
export function kubeTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
