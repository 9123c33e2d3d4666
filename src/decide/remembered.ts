import type { UpstreamNode } from '../model/upstream.ts';

/** What the removal guard knows of an object from earlier looks. */
export interface Remembered {
  /** Whether the operator itself put this node there: what somebody else added is drift, and no endpoint. */
  readonly put: (node: UpstreamNode) => boolean;
  /** What decided which endpoints there are. */
  readonly basis: Basis;
  /** The basis changed since the last write, or so lately that endpoints may still follow it. */
  readonly isSettling: boolean;
  /** Since when something is held, wall clock. */
  readonly heldSince: number | undefined;
  /** Places of nodes that went unexplained a short while ago. */
  readonly lost: readonly string[];
}

/** Everything that decides which endpoints there are: backends of the spec, selectors and ports of Services. Plain data. */
export type Basis = readonly unknown[];
