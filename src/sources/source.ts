import type { Departed, Discovered, RemovalCause } from '../model/discovered.ts';

/**
 * What may have changed.
 * - `instances`: what this reference lists. It is urgent.
 * - `source`: whether anything is known at all, for every reference at once: the source has been listed, or lost.
 */
export type SourceChange = 'instances' | 'source';

/**
 * One place where instances are discovered. `test/contract/discovery-source.ts` is the conformance suite.
 *
 * - Complete or unknown. A source never answers with part of what there is, and never takes an error for "no instances".
 *   While it cannot vouch for its last answer, it answers `unknown`; the caller keeps the last complete answer of each
 *   backend. A source whose protocol lets it catch up without a gap may keep its answer through a short outage.
 * - All instances. A source leaves nothing out: families, readiness and ports are decided in `decide/`.
 * - On its own. A source survives the faults of its registry without help, and bounds what it asks of it.
 */
export interface DiscoverySource<Ref> {
  readonly type: string;

  /** Runs until the signal aborts; rejects only for a defect of the program. */
  run(signal: AbortSignal): Promise<void>;

  /**
   * Calls `changed` after anything that may change what `read(ref)` returns. Calls without a change are allowed,
   * missed changes are not. Disposing ends the calls. A source may follow only what somebody subscribes to.
   */
  subscribe(ref: Ref, changed: (what: SourceChange) => void): Disposable;

  /** What is known now. Synchronous and without side effects; complete, or `unknown` with the reason. */
  read(ref: Ref): Discovered;

  /** Why `ref` does not list something any more. */
  departure(ref: Ref, removedEndpoints: Departed): RemovalCause;

  /** Those of `addresses` that anything but `refs` lists now. May cost a look at everything. */
  listedElsewhere(refs: readonly Ref[], addresses: ReadonlySet<string>): ReadonlySet<string>;
}
