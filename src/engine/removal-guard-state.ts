import { isDeepStrictEqual } from 'node:util';
import type { Basis, Kept, Remembered } from '../decide/remembered.ts';
import { type HoldReason, placeOf, type Removal } from '../decide/removal-guard.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Clock } from '../runtime/clock.ts';

interface Memory {
  /** The nodes of the last write, or of the first read. Shared with other state, because places as text would need more memory. */
  nodes: readonly UpstreamNode[];
  basis: Basis;
  /** When the basis changed last (monotonic). */
  changedAt: number;
  /** When the gateway last had everything that the basis determines, with or without a write (monotonic). */
  matchedAt: number;
  /** By place of each guarded node; undefined if there are none. */
  guarding: ReadonlyMap<string, Guarding> | undefined;
  /** Removals without a known cause, by place, the oldest first; undefined if there are none. */
  lost: Map<string, Loss> | undefined;
}

/** When a removal was written (monotonic), and from which backend. */
interface Loss {
  readonly at: number;
  readonly backend: number | undefined;
}

/** When the guard began to keep a node. */
interface Guarding {
  /** Wall clock. */
  since: number;
  /** Monotonic. */
  readonly at: number;
  /** When each reason to keep it began (monotonic). */
  readonly begun: Readonly<Partial<Record<HoldReason, number>>>;
  readonly lastingUnit: number | undefined;
}

/** A larger difference between the clocks means that the wall clock was set. A smaller one is clock drift. */
const CLOCK_SET_MS = 2000;

/** Nodes that disappear within this time count as one removal. */
const LOST_TOGETHER_MS = 60_000;
/** The EndpointSlice controller of a busy cluster applies a changed selector within this time. */
const SETTLING_MS = 60_000;

/**
 * The removal-guard state of one object. It exists while the replica leads. After a restart, only the condition `RemovalHeld`
 * is known from the status.
 */
export class RemovalGuardState {
  readonly #clock: Clock;
  #memory: Memory | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The state for the next decision; undefined before the first read of the gateway. */
  recall(): Remembered | undefined {
    const memory = this.#memory;
    if (memory === undefined) return undefined;
    const { nodes, basis, changedAt, matchedAt, guarding } = memory;
    const isChanging = changedAt > matchedAt;
    const oldest = this.#clock.monotonic() - LOST_TOGETHER_MS;
    for (const [place, { at }] of memory.lost ?? []) if (at < oldest) memory.lost?.delete(place);
    let places: ReadonlySet<string> | undefined;
    return {
      put(node) {
        places ??= new Set(nodes.map(placeOf));
        return places.has(placeOf(node));
      },
      basis,
      isChanging,
      isSettling: isChanging || this.#clock.monotonic() - changedAt < SETTLING_MS,
      kept: (node) => {
        const found = guarding?.get(placeOf(node));
        return found && this.#kept(found);
      },
      lost: [...(memory.lost ?? [])].map(([place, { backend }]) => ({ place, backend })),
    };
  }

  /** Records a read of the gateway. `observed` counts only in the first read. */
  read(basis: Basis, observed: readonly UpstreamNode[]): void {
    const memory = this.#memory;
    const now = this.#clock.monotonic();
    if (memory === undefined) {
      this.#memory = {
        nodes: observed,
        basis,
        changedAt: Number.NEGATIVE_INFINITY,
        matchedAt: now,
        guarding: undefined,
        lost: undefined,
      };
      return;
    }
    if (!isDeepStrictEqual(memory.basis, basis)) memory.changedAt = now;
    // The latest basis shares its parts with the stored objects. An older one would keep old objects in memory.
    memory.basis = basis;
  }

  /** The gateway accepted `nodes`. This write removed the nodes `lost` without an explanation. */
  wrote(nodes: readonly UpstreamNode[], lost: readonly Pick<Removal, 'node' | 'backend'>[]): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    const now = this.#clock.monotonic();
    const before = memory.nodes;
    memory.nodes = nodes;
    memory.matchedAt = now;
    if (lost.length > 0) {
      memory.lost ??= new Map();
      for (const { node, backend } of lost) memory.lost.set(placeOf(node), { at: now, backend });
    }
    if (memory.lost === undefined) return;
    if (memory.lost.size === 0) {
      memory.lost = undefined;
      return;
    }
    const known = new Set(before.map(placeOf));
    for (const place of nodes.map(placeOf)) {
      // A new node replaces the node that was lost first. A node that returns is no longer lost.
      const [oldest] = memory.lost.keys();
      if (memory.lost.delete(place) || known.has(place) || oldest === undefined) continue;
      memory.lost.delete(oldest);
    }
  }

  /** The gateway needs no write. */
  matched(): void {
    if (this.#memory !== undefined) this.#memory.matchedAt = this.#clock.monotonic();
  }

  /** Records which nodes are guarded. */
  guard(held: readonly (Kept & { readonly node: UpstreamNode })[]): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    const before = memory.guarding;
    const { now, monotonic } = this.#clock;
    // An infinite time has not begun.
    const monotonicAt = (time: number) => monotonic() - (now() - time);
    const kept = held.map(({ node, since, begun, lastingUnit }): [string, Guarding] => {
      const place = placeOf(node);
      const known = before?.get(place);
      const at = known?.since === since ? known.at : monotonicAt(Math.min(since, now()));
      return [place, { since, at, lastingUnit, begun: mapTimes(begun, monotonicAt) }];
    });
    memory.guarding = kept.length === 0 ? undefined : new Map(kept);
  }

  #kept(guarding: Guarding): Kept {
    const { now, monotonic } = this.#clock;
    const begun = mapTimes(guarding.begun, (at) => now() - (monotonic() - at));
    const { lastingUnit } = guarding;
    const since = this.#since(guarding);
    return lastingUnit === undefined ? { since, begun } : { since, begun, lastingUnit };
  }

  /** When guarding began, on the current wall clock. If the clock was set, the elapsed monotonic time counts. */
  #since(guarding: Guarding): number {
    const { now, monotonic } = this.#clock;
    const since = now() - (monotonic() - guarding.at);
    if (Math.abs(since - guarding.since) > CLOCK_SET_MS) guarding.since = since;
    return guarding.since;
  }
}

function mapTimes(times: Guarding['begun'], map: (time: number) => number): Guarding['begun'] {
  return Object.fromEntries(Object.entries(times).map(([reason, time]) => [reason, map(time)]));
}
