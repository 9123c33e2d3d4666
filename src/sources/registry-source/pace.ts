import type { Clock } from '../../runtime/clock.ts';

/** An answer costs this much time, so that a service that changes all the time is asked ten times per second. */
const COST_MS = 100;
/** Of an answer without news that came before the registry had waited: a server that does not wait. */
const NO_NEWS_COST_MS = 500;
/** Of each instance, so that reading large answers leaves most of the time to other services. */
const COST_PER_INSTANCE_MS = 0.1;
/** The cost that may be due without a pause: some quick changes are followed at once. */
const BURST_MS = 1000;

/** Limits how often one service is asked by blocking queries, whatever the registry answers. */
export class Pace {
  readonly #clock: Clock;
  /** When the cost of all answers so far is paid, monotonic. */
  #paidAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How long to pause after an answer, in milliseconds. `instances`: how many it had; undefined: it had no news. */
  pauseAfter(instances: number | undefined): number {
    const now = this.#clock.monotonic();
    const cost =
      instances === undefined ? NO_NEWS_COST_MS : Math.max(COST_MS, instances * COST_PER_INSTANCE_MS);
    this.#paidAt = Math.max(now, this.#paidAt) + cost;
    return Math.max(0, this.#paidAt - now - BURST_MS);
  }
}
