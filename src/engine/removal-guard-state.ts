import { isDeepStrictEqual } from 'node:util';
import type { Basis, Remembered } from '../decide/remembered.ts';
import { placeOf } from '../decide/removal-guard.ts';
import type { ObjectKey } from '../model/keys.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { Clock } from '../runtime/clock.ts';

interface Entry {
  /** What the operator put there, or found at its first look. As it is held elsewhere too, since places as text are large. */
  nodes: readonly UpstreamNode[];
  basis: Basis;
  /** Monotonic. */
  changedAt: number;
  /** Monotonic. */
  wroteAt: number;
  held: Hold | undefined;
  /** By place: when, monotonic; absent where there is none. */
  lost: Map<string, number> | undefined;
}

/** When something began to be held, by both clocks. */
interface Hold {
  /** Wall clock. */
  since: number;
  /** Monotonic. */
  readonly at: number;
}

/** A wall clock that is further off was set, and did not only drift. */
const CLOCK_SET_MS = 2000;

/** Nodes that go within this time count as if they went at once. */
const LOST_TOGETHER_MS = 60_000;

/** The endpoint controllers of a busy cluster follow a changed selector within this time. */
const SETTLING_MS = 60_000;

/** Lives as long as the process leads; after a restart only `RemovalHeld` itself is known, from the status. */
export class RemovalGuardState {
  readonly #entries = new Map<ObjectKey, Entry>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  recall(key: ObjectKey): Remembered | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const { nodes, basis, changedAt, wroteAt, held } = entry;
    const oldest = this.#clock.monotonic() - LOST_TOGETHER_MS;
    for (const [place, at] of entry.lost ?? []) if (at < oldest) entry.lost?.delete(place);
    let places: ReadonlySet<string> | undefined;
    return {
      put(node) {
        places ??= new Set(nodes.map(placeOf));
        return places.has(placeOf(node));
      },
      basis,
      isSettling: changedAt > wroteAt || this.#clock.monotonic() - changedAt < SETTLING_MS,
      heldSince: held && this.#since(held),
      lost: [...(entry.lost?.keys() ?? [])],
    };
  }

  /** The gateway was looked at, and held these nodes. */
  looked(key: ObjectKey, basis: Basis, observed: readonly UpstreamNode[]): void {
    const entry = this.#entries.get(key);
    const now = this.#clock.monotonic();
    if (entry === undefined) {
      this.#entries.set(key, {
        nodes: observed,
        basis,
        changedAt: Number.NEGATIVE_INFINITY,
        wroteAt: now,
        held: undefined,
        lost: undefined,
      });
    } else {
      if (!isDeepStrictEqual(entry.basis, basis)) entry.changedAt = now;
      // What it is made of is held elsewhere too, as long as it is the latest.
      entry.basis = basis;
    }
  }

  /** The gateway accepted `nodes`, and `lost` went with that though nothing explains it. */
  wrote(key: ObjectKey, nodes: readonly UpstreamNode[], lost: readonly UpstreamNode[]): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const now = this.#clock.monotonic();
    const before = entry.nodes;
    entry.nodes = nodes;
    entry.wroteAt = now;
    if (lost.length > 0) {
      entry.lost ??= new Map();
      for (const node of lost) entry.lost.set(placeOf(node), now);
    }
    if (entry.lost === undefined) return;
    if (entry.lost.size === 0) {
      entry.lost = undefined;
      return;
    }
    const known = new Set(before.map(placeOf));
    for (const place of nodes.map(placeOf)) {
      // What is new took the place of what was lost longest ago; what came back makes up for its own loss.
      const [oldest] = entry.lost.keys();
      if (entry.lost.delete(place) || known.has(place) || oldest === undefined) continue;
      entry.lost.delete(oldest);
    }
  }

  /** Something is held since then, wall clock; undefined: nothing is. */
  held(key: ObjectKey, since: number | undefined): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.held?.since === since) return;
    const { now, monotonic } = this.#clock;
    entry.held = since === undefined ? undefined : { since, at: monotonic() - Math.max(0, now() - since) };
  }

  forget(key: ObjectKey): void {
    this.#entries.delete(key);
  }

  /** Since when by the wall clock as it is now: where that was set, what passed since counts. */
  #since(hold: Hold): number {
    const { now, monotonic } = this.#clock;
    const since = now() - (monotonic() - hold.at);
    if (Math.abs(since - hold.since) > CLOCK_SET_MS) hold.since = since;
    return hold.since;
  }
}
