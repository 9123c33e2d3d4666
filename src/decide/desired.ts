import type { WarningReason } from '../api/gateway-upstream-status.ts';
import type { Upstream } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Excluded } from './nodes.ts';

/** The endpoints of all backends by their use; an endpoint counts once for each backend that resolves to it. */
export interface EndpointCounts {
  readonly ready: number;
  /** Serving while terminating: used because no endpoint is ready, or kept with weight 0. */
  readonly draining: number;
  readonly excluded: number;
  /** No longer desired, but kept by the removal guard. */
  readonly held: number;
}

export interface Desired {
  readonly upstream: Upstream;
  readonly resolvedRefs: Verdict;
  readonly counts: EndpointCounts;
  /** The first excluded endpoints and guarded nodes, in node order. */
  readonly excluded: readonly Excluded[];
  /**
   * - `write`: at least one backend is resolved.
   * - `onlyIfPresent`: no backend is resolved. An existing upstream loses its nodes; no upstream is created.
   * - `wait`: something is unknown or cannot be written. The gateway stays unchanged.
   * - `notYet`: like `wait`, but only because the operator has just started.
   */
  readonly action: 'write' | 'onlyIfPresent' | 'wait' | 'notYet';
  /** `Ready` if all other conditions are True. */
  readonly ready: Verdict;
  /** Settings that are accepted but not applied exactly. */
  readonly warnings: readonly Warning[];
}

/** An entry of `status.warnings`. It contains no counts, so that it changes only when the problem does. */
export interface Warning {
  readonly reason: WarningReason;
  /** For example `spec.backends`. */
  readonly field: string;
  readonly message: string;
}
