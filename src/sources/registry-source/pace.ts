import type { Clock } from '../../runtime/clock.ts';

/** An answer costs this much time, so that a service that changes all the time is asked once per second. */
const COST_MS = 1000;
/** Cost of an answer without news from a server that did not wait for a change. */
const NO_NEWS_COST_MS = 500;
/** Cost per instance or other entry that was read, so that large answers leave most of the time to other services. */
const COST_PER_INSTANCE_MS = 0.5;
/** Cost that causes no pause, so that a few quick changes are followed at once. */
const BURST_MS = 5000;

/** Limit for all services of one registry: reading and using an instance takes about 0.02 ms of the single thread. */
const SHARED_COST_PER_INSTANCE_MS = 0.1;
const SHARED_BURST_MS = 5000;
/** A service with few instances does not wait for those with many. */
const LONGEST_SHARED_PAUSE_PER_INSTANCE_MS = 10;

/** The cost of all answers of one registry. */
export class SharedPace {
  readonly #clock: Clock;
  #paidAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  pauseAfter(instances: number): number {
    const now = this.#clock.monotonic();
    this.#paidAt = Math.max(now, this.#paidAt) + instances * SHARED_COST_PER_INSTANCE_MS;
    const dueMs = Math.max(0, this.#paidAt - now - SHARED_BURST_MS);
    return Math.min(dueMs, instances * LONGEST_SHARED_PAUSE_PER_INSTANCE_MS);
  }
}

/** Limits how often one service is asked by blocking queries, whatever the registry answers. */
export class Pace {
  readonly #clock: Clock;
  readonly #shared: SharedPace;
  /** When the cost of all answers so far is paid, monotonic. */
  #paidAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, shared: SharedPace) {
    this.#clock = clock;
    this.#shared = shared;
  }

  /**
   * How long to pause after an answer, in milliseconds. `instances`: how many it had; undefined: it had no news. `read`: how many
   * entries were read for it.
   */
  pauseAfter(instances: number | undefined, read = instances ?? 0): number {
    const now = this.#clock.monotonic();
    const leastMs = instances === undefined ? NO_NEWS_COST_MS : COST_MS;
    this.#paidAt = Math.max(now, this.#paidAt) + Math.max(leastMs, read * COST_PER_INSTANCE_MS);
    const dueMs = Math.max(0, this.#paidAt - now - BURST_MS);
    return Math.max(dueMs, this.#shared.pauseAfter(read));
  }
}
