import { STALLED } from '../api/conditions.ts';
import { type Condition, NEVER } from '../api/schema.ts';
import type { Verdict, Verdicts } from '../model/verdict.ts';

const MAX_MESSAGE = 1024;

/** The summary: the first of `parts` that is not True, otherwise `whole`. */
export function summarize(parts: readonly Verdict[], whole: Verdict): Verdict {
  return parts.find((part) => part.status !== 'True') ?? whole;
}

/** The summary while the operator lacks a permission, since the other conditions may be out of date. */
export function missingVerdict(message: string | undefined): Verdict | undefined {
  return message === undefined ? undefined : { status: 'False', reason: 'PermissionMissing', message };
}

/**
 * The two abnormal-true conditions of kstatus, each present only while True: `Stalled` if only a change of an object
 * helps, `Reconciling` while the operator retries.
 */
export function progressConditions(ready: Verdict): Verdicts {
  if (ready.status === 'True') return [];
  const type = STALLED.has(ready.reason) ? 'Stalled' : 'Reconciling';
  return [[type, { status: 'True', reason: ready.reason, message: ready.message }]];
}

/**
 * Conditions for `verdicts`. `lastTransitionTime` comes from `previous` if the status is unchanged.
 *
 * @param now RFC 3339 with whole seconds, like metav1.Time. Called only if a status changed.
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

/** Since when the condition `type` is True, wall clock; undefined if it is not True. */
export function trueSince(conditions: readonly Condition[] | undefined, type: string): number | undefined {
  const condition = conditions?.find((one) => one.type === type);
  return condition?.status === 'True' ? Date.parse(condition.lastTransitionTime) : undefined;
}

/** `message`, shortened to the limit for a condition. */
export function boundedMessage(message: string): string {
  return shorten(message, MAX_MESSAGE);
}

/** `text`, shortened to at most `length` UTF-16 units without splitting a character. */
export function shorten(text: string, length: number): string {
  if (text.length <= length) return text;
  return `${text.slice(0, length - 3).replace(/[\ud800-\udbff]$/, '')}...`;
}

/** RFC 3339 with whole seconds, like metav1.Time. */
export function kubeTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
