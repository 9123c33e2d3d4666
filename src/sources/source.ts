import type { Departed, Discovered, RemovalCause } from '../model/discovered.ts';

/**
 * What may have changed.
 * - `instances`: the instances of this reference. Urgent.
 * - `source`: the availability of the source, for all references at once.
 */
export type SourceChange = 'instances' | 'source';

/**
 * A discovery source. `test/contract/discovery-source.ts` is the conformance suite.
 *
 * - Complete or unknown. A source never returns a partial answer and never treats an error as "no instances". While it cannot
 *   guarantee that its last answer is current, it returns `unknown`; the caller keeps the last complete answer of each
 *   backend. A source whose protocol can catch up without a gap may keep its answer during a short outage.
 * - All instances. A source does not filter: `decide/` handles IP families, readiness and ports.
 * - Independent. A source recovers from failures of its registry by itself, and limits its requests.
 */
export interface DiscoverySource<Ref> {
  readonly type: string;

  /** Runs until the signal aborts. Rejects only because of a defect in the program. */
  run(signal: AbortSignal): Promise<void>;

  /**
   * Calls `changed` after every event that can change the result of `read(ref)`, until it is disposed. Calls without a
   * change are allowed, missed changes are not. A source may watch only subscribed references, and limit how many it watches
   * for one `namespace`; without one, there is no such limit.
   */
  subscribe(ref: Ref, changed: (what: SourceChange) => void, namespace?: string): Disposable;

  /** The current answer: complete, or `unknown` with the reason. Synchronous and without side effects. */
  read(ref: Ref): Discovered;

  /** Why `ref` no longer lists something. */
  departure(ref: Ref, removedEndpoints: Departed): RemovalCause;

  /** The `addresses` that references other than `refs` list now. May iterate over everything. */
  listedElsewhere(refs: readonly Ref[], addresses: ReadonlySet<string>): ReadonlySet<string>;
}
