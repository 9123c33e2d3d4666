import type { Status } from '../../decide/build-status.ts';
import type { CustomKind } from '../../kube/object-writer.ts';
import type { Stored } from '../../model/store-view.ts';
import type { Verdict } from '../../model/verdict.ts';

/** The `Ready` condition without its message. */
export type Summary = Pick<Verdict, 'status'> & { readonly reason: string };

/** What was reported of one object, and what has to be written to its status. */
export interface Report {
  readonly kind: CustomKind;
  object: Stored;
  /** What the API server contains or is being sent; undefined where that is not known. */
  written: Status | undefined;
  /** What it should contain. */
  wanted: Status;
  /** When that changed last, monotonic. */
  changedAt: number;
  /** Monotonic times of the last writes, the latest last. */
  writtenAt: readonly number[];
  /** The summary that was announced last; undefined: none yet. */
  announced: Summary | undefined;
}
