import type { UpstreamNode } from '../model/upstream.ts';
import type { LostNode } from './removal-guard.ts';

/** The removal guard's state of an object from earlier reconciles. */
export interface Remembered {
  /** Whether the operator wrote this node. A node of another client is drift, not an endpoint. */
  readonly put: (node: UpstreamNode) => boolean;
  /** The inputs that determined the endpoints. */
  readonly basis: Basis;
  /** Whether the basis changed since the gateway last matched it. */
  readonly isChanging: boolean;
  /** Whether the basis changed since the last write, or so recently that endpoints of Services may still change. */
  readonly isSettling: boolean;
  /** Since when the guard keeps a node, wall clock; undefined if it does not. */
  readonly guardedSince: (node: UpstreamNode) => number | undefined;
  /** Recently removed nodes without a known cause. */
  readonly lost: readonly LostNode[];
}

/** The inputs that determine which endpoints exist: backends in the spec, selectors and ports of Services. Plain data. */
export type Basis = readonly unknown[];
