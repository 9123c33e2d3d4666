import type { Verdict } from '../../model/verdict.ts';

/** State of a deletion that is blocked because something refers to the upstream. */
export interface PendingDeletion {
  readonly verdict: Verdict;
  /** Generation of the object. A new generation may have another deletion policy. */
  readonly generation: number;
  /** Earliest time of the next attempt (monotonic). */
  readonly notBefore: number;
  /** Content that the gateway rejected or changed. */
  rejected: RejectedContent | undefined;
  /** Whether another client changed the upstream and this is not reported yet. */
  isDrifted: boolean;
}

/** Contents in canonical form. While both are unchanged, the content is not sent again before `until` (monotonic). */
export interface RejectedContent {
  readonly canonical: string;
  readonly observed: string | undefined;
  readonly until: number;
}
