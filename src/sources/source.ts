import type { Departed, Discovered, RemovalCause } from '../model/discovered.ts';

/**
 * What may have changed.
 * - `instances`: what this reference lists. It is urgent.
 * - `source`: whether anything is known at all, for every reference at once: the source has been listed, or lost.
 */
export type SourceChange = 'instances' | 'source';

/**
 * One place that instances are discovered from. A source reports whole truths: it aborts rather than give part of
 * what it knows (stale endpoints beat wrong ones), filters nothing (families, readiness and ports are decided in
 * `core/`), and survives faults of its registry by itself.
 */
export interface DiscoverySource<Ref> {
  readonly type: string;

  /** Runs until the signal aborts; rejects only for a defect of the program. */
  run(signal: AbortSignal): Promise<void>;

  /**
   * Calls `changed` after anything that may change what `read(ref)` returns. Calls without a change are allowed,
   * missed changes are not. Disposing ends the calls.
   */
  subscribe(ref: Ref, changed: (what: SourceChange) => void): Disposable;

  /** What is known now. Synchronous; complete, or `unknown` with the reason. */
  read(ref: Ref): Discovered;

  /** How what `ref` does not list went. */
  departure(ref: Ref, removedEndpoints: Departed): RemovalCause;

  /** Those of `addresses` that anything but `refs` lists now. May cost a look at everything. */
  listedElsewhere(refs: readonly Ref[], addresses: ReadonlySet<string>): ReadonlySet<string>;
}
