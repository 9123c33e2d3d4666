import { isDeepStrictEqual } from 'node:util';
import type { Basis, Remembered } from '../decide/remembered.ts';
import { type HeldNode, placeOf, type Removal } from '../decide/removal-guard.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Clock } from '../runtime/clock.ts';

interface Memory {
  /** The nodes of the last write, or of the first read. Shared with other state, because places as text would need more memory. */
  nodes: readonly UpstreamNode[];
  basis: Basis;
  /** When the basis changed last (monotonic). */
  changedAt: number;
  /** When the gateway accepted the last write, or was read first (monotonic). */
  wroteAt: number;
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

/** When the guard began to keep a node, on both clocks. */
interface Guarding {
  /** Wall clock. */
  since: number;
  /** Monotonic. */
  readonly at: number;
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
    const { nodes, basis, changedAt, wroteAt, matchedAt, guarding } = memory;
    const oldest = this.#clock.monotonic() - LOST_TOGETHER_MS;
    for (const [place, { at }] of memory.lost ?? []) if (at < oldest) memory.lost?.delete(place);
    let places: ReadonlySet<string> | undefined;
    return {
      put(node) {
        places ??= new Set(nodes.map(placeOf));
        return places.has(placeOf(node));
      },
      basis,
      isChanging: changedAt > matchedAt,
      isSettling: changedAt > wroteAt || this.#clock.monotonic() - changedAt < SETTLING_MS,
      guardedSince: (node) => {
        const kept = guarding?.get(placeOf(node));
        return kept && this.#since(kept);
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
        wroteAt: now,
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
    memory.wroteAt = now;
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

  /** Records which nodes are guarded, and since when (wall clock). */
  guard(held: readonly Pick<HeldNode, 'node' | 'since'>[]): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    const before = memory.guarding;
    const { now, monotonic } = this.#clock;
    const kept = held.map(({ node, since }): [string, Guarding] => {
      const place = placeOf(node);
      const known = before?.get(place);
      return [
        place,
        known?.since === since ? known : { since, at: monotonic() - Math.max(0, now() - since) },
      ];
    });
    memory.guarding = kept.length === 0 ? undefined : new Map(kept);
  }

  /** When guarding began, on the current wall clock. If the clock was set, the elapsed monotonic time counts. */
  #since(guarding: Guarding): number {
    const { now, monotonic } = this.#clock;
    const since = now() - (monotonic() - guarding.at);
    if (Math.abs(since - guarding.since) > CLOCK_SET_MS) guarding.since = since;
    return guarding.since;
  }
}
