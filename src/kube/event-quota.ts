import type { Clock } from '../runtime/clock.ts';

/** A token bucket. Events over the limit are dropped, because conditions carry the same message. */
interface Rate {
  readonly burst: number;
  readonly perMinute: number;
}

/** An equal Event about the same object within this time is a duplicate. */
const SAME_EVENT_MS = 300_000;
const PER_PROCESS: Rate = { burst: 100, perMinute: 60 };
/** Keeps one object that flaps with changing messages from using up the quota of the others. */
const PER_OBJECT: Rate = { burst: 10, perMinute: 0.2 };
/** Number of map entries above which expired ones are removed. */
const MAX_RECENT = 4096;

/** The fill level of a token bucket at a monotonic time. */
interface Left {
  readonly tokens: number;
  readonly at: number;
}

/** Drops duplicate Events, and limits their rate per object and per process. */
export class EventQuota {
  readonly #clock: Clock;
  /** When each Event was last written. */
  readonly #recent = new Map<string, number>();
  readonly #leftByObject = new Map<string, Left>();
  #left: Left;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#left = { tokens: PER_PROCESS.burst, at: clock.monotonic() };
  }

  /** Whether the Event `key` about `object` may be written now. If so, it is counted. */
  take(object: string, key: string): boolean {
    const now = this.#clock.monotonic();
    const last = this.#recent.get(key);
    if (last !== undefined && now - last < SAME_EVENT_MS) return false;
    const ofObject = refilled(this.#leftByObject.get(object), PER_OBJECT, now);
    this.#left = refilled(this.#left, PER_PROCESS, now);
    if (ofObject.tokens < 1 || this.#left.tokens < 1) return false;
    this.#left = { ...this.#left, tokens: this.#left.tokens - 1 };
    this.#dropOld(now);
    this.#recent.set(key, now);
    this.#leftByObject.set(object, { ...ofObject, tokens: ofObject.tokens - 1 });
    return true;
  }

  #dropOld(now: number): void {
    if (this.#recent.size >= MAX_RECENT) {
      for (const [old, at] of this.#recent) if (now - at >= SAME_EVENT_MS) this.#recent.delete(old);
    }
    if (this.#leftByObject.size < MAX_RECENT) return;
    for (const [old, left] of this.#leftByObject) {
      if (refilled(left, PER_OBJECT, now).tokens === PER_OBJECT.burst) this.#leftByObject.delete(old);
    }
  }
}

function refilled(left: Left | undefined, { burst, perMinute }: Rate, now: number): Left {
  if (left === undefined) return { tokens: burst, at: now };
  return { tokens: Math.min(burst, left.tokens + ((now - left.at) / 60_000) * perMinute), at: now };
}
