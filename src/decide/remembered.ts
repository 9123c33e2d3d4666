import type { UpstreamNode } from '../model/model.ts';

/** What the removal guard remembers of an object from earlier reconciles. */
export interface Remembered {
  /** Whether the operator itself put this node there: a node that another client added is drift, not an endpoint. */
  readonly put: (node: UpstreamNode) => boolean;
  /** What decided which endpoints there are. */
  readonly basis: Basis;
  /** The basis changed since the last write, or so recently that endpoints may still follow it. */
  readonly isSettling: boolean;
  /** Since when nodes are guarded, wall clock. */
  readonly heldSince: number | undefined;
  /** Places of nodes that disappeared without an explanation a short while ago. */
  readonly lost: readonly string[];
}

/** Everything that decides which endpoints there are: backends of the spec, selectors and ports of Services. Plain data. */
export type Basis = readonly unknown[];
