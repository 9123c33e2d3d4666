import { isDeepStrictEqual } from 'node:util';
import type { Basis, Remembered } from '../decide/remembered.ts';
import { placeOf } from '../decide/removal-guard.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Clock } from '../runtime/clock.ts';

interface Memory {
  /** The nodes that the operator wrote, or found at its first read. Shared with other holders, since places as text are large. */
  nodes: readonly UpstreamNode[];
  basis: Basis;
  /** Monotonic. */
  changedAt: number;
  /** Monotonic. */
  wroteAt: number;
  guarding: Guarding | undefined;
  /** By place: when, monotonic; absent where there is none. */
  lost: Map<string, number> | undefined;
}

/** When the guard began to keep nodes, by both clocks. */
interface Guarding {
  /** Wall clock. */
  since: number;
  /** Monotonic. */
  readonly at: number;
}

/** A wall clock that differs by more than this was set; smaller differences are drift. */
const CLOCK_SET_MS = 2000;

/** Nodes that disappear within this time count as if they disappeared at once. */
const LOST_TOGETHER_MS = 60_000;
/** The endpoint controllers of a busy cluster follow a changed selector within this time. */
const SETTLING_MS = 60_000;

/**
 * What the removal guard remembers of one object. It lives as long as the process leads; after a restart only
 * `RemovalHeld` is known, from the status.
 */
export class RemovalGuardState {
  readonly #clock: Clock;
  #memory: Memory | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined before the first read of the gateway. */
  recall(): Remembered | undefined {
    const memory = this.#memory;
    if (memory === undefined) return undefined;
    const { nodes, basis, changedAt, wroteAt, guarding } = memory;
    const oldest = this.#clock.monotonic() - LOST_TOGETHER_MS;
    for (const [place, at] of memory.lost ?? []) if (at < oldest) memory.lost?.delete(place);
    let places: ReadonlySet<string> | undefined;
    return {
      put(node) {
        places ??= new Set(nodes.map(placeOf));
        return places.has(placeOf(node));
      },
      basis,
      isSettling: changedAt > wroteAt || this.#clock.monotonic() - changedAt < SETTLING_MS,
      heldSince: guarding && this.#since(guarding),
      lost: [...(memory.lost?.keys() ?? [])],
    };
  }

  /** The gateway was read, and contained these nodes. */
  read(basis: Basis, observed: readonly UpstreamNode[]): void {
    const memory = this.#memory;
    const now = this.#clock.monotonic();
    if (memory === undefined) {
      this.#memory = {
        nodes: observed,
        basis,
        changedAt: Number.NEGATIVE_INFINITY,
        wroteAt: now,
        guarding: undefined,
        lost: undefined,
      };
      return;
    }
    if (!isDeepStrictEqual(memory.basis, basis)) memory.changedAt = now;
    // The latest basis shares its parts with the stored objects; an older one would keep them alive.
    memory.basis = basis;
  }

  /** The gateway accepted `nodes`, and `lost` disappeared with that although nothing explains it. */
  wrote(nodes: readonly UpstreamNode[], lost: readonly UpstreamNode[]): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    const now = this.#clock.monotonic();
    const before = memory.nodes;
    memory.nodes = nodes;
    memory.wroteAt = now;
    if (lost.length > 0) {
      memory.lost ??= new Map();
      for (const node of lost) memory.lost.set(placeOf(node), now);
    }
    if (memory.lost === undefined) return;
    if (memory.lost.size === 0) {
      memory.lost = undefined;
      return;
    }
    const known = new Set(before.map(placeOf));
    for (const place of nodes.map(placeOf)) {
      // A new node replaces the one that was lost longest ago; one that came back makes up for its own loss.
      const [oldest] = memory.lost.keys();
      if (memory.lost.delete(place) || known.has(place) || oldest === undefined) continue;
      memory.lost.delete(oldest);
    }
  }

  /** Nodes are guarded since then, wall clock; undefined: none are. */
  guard(since: number | undefined): void {
    const memory = this.#memory;
    if (memory === undefined || memory.guarding?.since === since) return;
    const { now, monotonic } = this.#clock;
    memory.guarding =
      since === undefined ? undefined : { since, at: monotonic() - Math.max(0, now() - since) };
  }

  /** Since when by the wall clock as it is now: where the clock was set, the time that passed since counts. */
  #since(guarding: Guarding): number {
    const { now, monotonic } = this.#clock;
    const since = now() - (monotonic() - guarding.at);
    if (Math.abs(since - guarding.since) > CLOCK_SET_MS) guarding.since = since;
    return guarding.since;
  }
}
