import type { Reason } from '../api/reasons.ts';

/** The result of one step of a reconcile. It becomes a condition. */
export interface Verdict {
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: Reason;
  /** What is wrong, where, and what to do. Without counts, so that it changes only when the problem changes. */
  readonly message: string;
}

/** Verdicts by condition type, in the order in which `kubectl describe` shows them. */
export type Verdicts = readonly (readonly [type: string, verdict: Verdict])[];
