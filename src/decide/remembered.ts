import type { UpstreamNode } from '../model/upstream.ts';
import type { KeptSince, LostNode } from './removal-guard.ts';

/** What is known about a node that the guard keeps. */
export interface Kept extends KeptSince {
  /** Its weight relative to the endpoints of its backend, once that is known: see `GuardedNode`. */
  readonly lastingUnit?: number;
}

/** The removal guard's state of an object from earlier reconciles. */
export interface Remembered {
  /** Whether the operator wrote this node. A node of another client is drift, not an endpoint. */
  readonly put: (node: UpstreamNode) => boolean;
  /** The inputs that determined the endpoints. */
  readonly basis: Basis;
  /** Whether the basis changed since the gateway last matched it. */
  readonly isChanging: boolean;
  /** Whether the basis is changing, or changed so recently that endpoints of Services may still change. */
  readonly isSettling: boolean;
  /** Undefined for a node that the guard does not keep. */
  readonly kept: (node: UpstreamNode) => Kept | undefined;
  /** Recently removed nodes without a known cause. */
  readonly lost: readonly LostNode[];
}

/** The inputs that determine which endpoints exist: backends in the spec, selectors and ports of Services. Plain data. */
export type Basis = readonly unknown[];
