import type { Verdict } from '../../model/verdict.ts';

/** An object that is being deleted, and cannot be as long as something refers to its upstream. */
export interface PendingDeletion {
  readonly verdict: Verdict;
  /** A new generation may have another deletion policy. */
  readonly generation: number;
  /** The deletion is not tried again before, on the monotonic clock. */
  readonly notBefore: number;
  /** The content that the gateway refused, or changed when it was written. */
  refused: RefusedContent | undefined;
  /** Another client changed the upstream, and that was not reported yet. */
  isDrifted: boolean;
}

/** In canonical form. While both are the same the content is not sent again before `until`, on the monotonic clock. */
export interface RefusedContent {
  readonly canonical: string;
  readonly observed: string | undefined;
  readonly until: number;
}
