import type { WarningReason } from '../api/gateway-upstream-status.ts';
import type { Upstream } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Excluded } from './nodes.ts';

/** What becomes of the endpoints behind all backends; each counts once per backend that leads to it. */
export interface EndpointCounts {
  readonly ready: number;
  /** Terminating and still serving: in use since none is ready, or kept without weight. */
  readonly draining: number;
  readonly excluded: number;
  /** Not wanted any more, and kept by the removal guard. */
  readonly held: number;
}

export interface Desired {
  readonly upstream: Upstream;
  readonly resolvedRefs: Verdict;
  readonly counts: EndpointCounts;
  /** The first of the endpoints that are left out and of the nodes that are held, in the order of nodes. */
  readonly excluded: readonly Excluded[];
  /**
   * - `write`: at least one backend leads somewhere.
   * - `onlyIfHeld`: none does: an upstream that exists drops to no nodes, none is created.
   * - `wait`: something is unknown or cannot be written: the gateway keeps what it has.
   * - `notYet`: the same, but only since the program has just begun.
   */
  readonly action: 'write' | 'onlyIfHeld' | 'wait' | 'notYet';
  /** What Ready says when everything is well. */
  readonly ready: Verdict;
  /** What is accepted but not as it was asked for. */
  readonly warnings: readonly Warning[];
}

/** An entry of `status.warnings`. Without counts, so that it changes only when the matter does. */
export interface Warning {
  readonly reason: WarningReason;
  /** For example `spec.backends`. */
  readonly field: string;
  readonly message: string;
}
