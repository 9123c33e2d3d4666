import type { Reason } from '../api/reasons.ts';

/** What one step of a reconcile came to. Becomes a condition. */
export interface Verdict {
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: Reason;
  /** What is wrong, where, and what to do; without counts, so that it changes only when the matter does. */
  readonly message: string;
}

/** What a condition needs besides its verdict; order matters to people who read `kubectl describe`. */
export type Verdicts = readonly (readonly [type: string, verdict: Verdict])[];
