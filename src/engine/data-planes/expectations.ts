import type { DataPlanesOfUpstream, DataPlaneVerdict, ExpectedView } from '../../decide/data-planes.ts';
import type { ObjectKey } from '../../model/keys.ts';
import type { UpstreamId } from '../../model/upstream.ts';

/** The content that data planes should serve for one upstream, and when the operator checks it. */
export interface Expected extends ExpectedView {
  readonly key: ObjectKey;
  /** Selects the compared part of the content that a data plane returns. */
  readonly part: (shown: string) => string;
  /** Times of the remaining checks (monotonic). */
  readonly checksAt: readonly number[];
  /** The last reported summary. */
  reported: DataPlanesOfUpstream | undefined;
}

/** One data plane of a gateway. */
export interface DataPlane {
  /** Ids to read in the next poll. */
  readonly due: Set<UpstreamId>;
  readonly verdicts: Map<UpstreamId, DataPlaneVerdict>;
  /** Consecutive failures. */
  failures: number;
  /** Message of the last failure. */
  problem: string;
  /** Whether it answered since it was discovered, or since the last recheck. */
  answered: boolean;
  /** Time of the last list (monotonic). */
  listedAt: number;
}

/** The data planes of one connection, and what they should serve. */
export interface VerifiedGateway {
  readonly expected: Map<UpstreamId, Expected>;
  readonly dataPlanes: Map<string, DataPlane>;
  /** Why no data planes were found. */
  problem: string | undefined;
  subscription: { readonly service: string; readonly handle: Disposable } | undefined;
}

/** Consecutive failures after which a data plane is unreachable. A single failure may be a restart. */
export const FAILURES_UNREACHABLE = 2;

export function newVerifiedGateway(): VerifiedGateway {
  return { expected: new Map(), dataPlanes: new Map(), problem: undefined, subscription: undefined };
}

/** A newly discovered data plane; `ids` are due. */
export function newDataPlane(ids: Iterable<UpstreamId>): DataPlane {
  return {
    due: new Set(ids),
    verdicts: new Map(),
    failures: 0,
    problem: '',
    answered: false,
    listedAt: Number.NEGATIVE_INFINITY,
  };
}

export function isUnreachable({ failures }: DataPlane): boolean {
  return failures >= FAILURES_UNREACHABLE;
}

/** Whether the data plane serves other content than expected. */
export function isLagging({ verdicts }: DataPlane): boolean {
  for (const verdict of verdicts.values()) if (verdict !== 'Current') return true;
  return false;
}
