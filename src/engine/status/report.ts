import type { Status } from '../../decide/build-status.ts';
import type { CustomKind } from '../../kube/object-writer.ts';
import type { Stored } from '../../model/store-view.ts';
import type { Verdict } from '../../model/verdict.ts';

/** The `Ready` condition without its message. */
export type Summary = Pick<Verdict, 'status'> & { readonly reason: string };

/** The written and the wanted status of one object. */
export interface Report {
  readonly kind: CustomKind;
  object: Stored;
  /** The status that the API server contains or is about to receive; undefined if unknown. */
  written: Status | undefined;
  /** The status that the API server should contain. */
  wanted: Status;
  /** When `wanted` changed last (monotonic). */
  changedAt: number;
  /** This process has begun to write the status. */
  isOwn: boolean;
  /** Times of the last writes (monotonic), the latest last. */
  writtenAt: readonly number[];
  /** The last announced summary; undefined if there is none yet. */
  announced: Summary | undefined;
}
