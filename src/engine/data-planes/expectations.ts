import type { DataPlanesOfUpstream, DataPlaneVerdict, ExpectedView } from '../../decide/data-planes.ts';
import type { ObjectKey } from '../../model/keys.ts';
import type { UpstreamId } from '../../model/upstream.ts';

/** What data planes should show of one upstream, and when they are asked. */
export interface Expected extends ExpectedView {
  readonly key: ObjectKey;
  /** The part of what data planes show that is compared. */
  readonly part: (shown: string) => string;
  /** Monotonic times at which it is still to be asked for. */
  readonly asks: readonly number[];
  /** What the status reported last. */
  reported: DataPlanesOfUpstream | undefined;
}

/** One data plane of a gateway. */
export interface DataPlane {
  /** Ids that it is asked for next. */
  readonly due: Set<UpstreamId>;
  readonly verdicts: Map<UpstreamId, DataPlaneVerdict>;
  /** Failures in a row. */
  failures: number;
  /** What the last failure was. */
  problem: string;
  /** It answered since it was found, or since the last recheck. */
  asked: boolean;
  /** Monotonic. */
  listedAt: number;
}

/** The data planes of one connection, and what they should show. */
export interface Followed {
  readonly expected: Map<UpstreamId, Expected>;
  readonly dataPlanes: Map<string, DataPlane>;
  /** Why there are no data planes to ask. */
  problem: string | undefined;
  subscription: { readonly service: string; readonly handle: Disposable } | undefined;
}

/** A data plane that fails once may only be restarting. */
export const FAILURES_UNREACHABLE = 2;

export function newFollowed(): Followed {
  return { expected: new Map(), dataPlanes: new Map(), problem: undefined, subscription: undefined };
}

/** A data plane that was found just now, and is to be asked for `ids`. */
export function newDataPlane(ids: Iterable<UpstreamId>): DataPlane {
  return {
    due: new Set(ids),
    verdicts: new Map(),
    failures: 0,
    problem: '',
    asked: false,
    listedAt: Number.NEGATIVE_INFINITY,
  };
}

export function isUnreachable({ failures }: DataPlane): boolean {
  return failures >= FAILURES_UNREACHABLE;
}

/** Whether it shows something else than expected. */
export function isBehind({ verdicts }: DataPlane): boolean {
  for (const verdict of verdicts.values()) if (verdict !== 'Current') return true;
  return false;
}
