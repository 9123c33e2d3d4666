import type { RegistryLimits } from '../registry.ts';

/** Reason with which a slot ends a query early. */
export class SlotNeeded extends Error {
  override readonly name = 'SlotNeeded';
}

/** Permission for one query. Disposing gives the slot to the next in line. */
export interface QuerySlot extends Disposable {
  /** Aborts with `SlotNeeded` when another service needs the slot more than a query that waits for a change. */
  readonly needed: AbortSignal;
  /** How long a query in this slot may wait for a change, in milliseconds. */
  readonly waitMs: number;
}

/** A query waits this long for a change while every service has a slot of its own: Consul's longest useful wait. */
const LONGEST_WAIT_MS = 50_000;
/** When services take turns, each is asked about this often. */
const ROUND_MS = 10_000;
/** With more services than 200 per slot, they are asked less often. */
const SHORTEST_WAIT_MS = 50;
/** Where services take turns, those that never had an instance are asked this often, or less often: see `unseenRoundMs`. */
const UNSEEN_ROUND_MS = 10_000;
/** In all their slots together, in any second. */
const UNSEEN_QUERIES_PER_SLOT = 1;
/** The part of the rate limit that may go to services that never had an instance. */
const UNSEEN_PART = 0.2;

type SlotLimits = Partial<Pick<RegistryLimits, 'requestsPerSecond'>> &
  Pick<RegistryLimits, 'concurrentQueries'>;

interface Waiter {
  readonly grant: () => void;
}

/**
 * At most `size` queries at once. While there are more services than slots, services take turns: each query waits only for
 * a short time, and queries that were begun with a long wait end early.
 */
export class QuerySlots {
  readonly #size: number;
  readonly #services: () => number;
  readonly #waiting = new Set<Waiter>();
  /** In the order in which they began. */
  readonly #waitingLong = new Set<AbortController>();
  /** Services that have answered without an instance so far: a tenant can name any number of them. */
  readonly unseen = new Set<object>();
  readonly #unseenPerSecond: number;
  #used = 0;

  /** `services`: how many services are followed now. */
  constructor(
    { concurrentQueries, requestsPerSecond = Number.POSITIVE_INFINITY }: SlotLimits,
    services: () => number,
  ) {
    this.#size = concurrentQueries;
    this.#services = services;
    this.#unseenPerSecond = Math.min(
      concurrentQueries * UNSEEN_QUERIES_PER_SLOT,
      requestsPerSecond * UNSEEN_PART,
    );
  }

  /** Pause between two queries for a service that never had an instance. 0: there are enough slots for all services. */
  get unseenRoundMs(): number {
    if (this.#services() <= this.#size) return 0;
    return Math.max(UNSEEN_ROUND_MS, (this.unseen.size * 1000) / this.#unseenPerSecond);
  }

  /** Resolves when a slot is free, first come first served. Rejects with the signal's reason. */
  async acquire(signal: AbortSignal): Promise<QuerySlot> {
    signal.throwIfAborted();
    if (this.#used < this.#size) this.#used += 1;
    else await this.#wait(signal);
    return this.#slot();
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#waiting.delete(waiter);
        reject(signal.reason as Error);
      };
      const waiter: Waiter = {
        grant: () => {
          signal.removeEventListener('abort', stop);
          resolve();
        },
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#waiting.add(waiter);
      const [oldest] = this.#waitingLong;
      if (oldest === undefined) return;
      this.#waitingLong.delete(oldest);
      oldest.abort(new SlotNeeded());
    });
  }

  #slot(): QuerySlot {
    const { signal, waitMs, controller } = this.#terms();
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      this.#waitingLong.delete(controller);
      const [next] = this.#waiting;
      if (next === undefined) {
        this.#used -= 1;
        return;
      }
      this.#waiting.delete(next);
      next.grant();
    };
    return { needed: signal, waitMs, [Symbol.dispose]: release };
  }

  #terms() {
    const controller = new AbortController();
    const services = this.#services();
    const isShared = services > this.#size;
    // One slot per hundred is enough for those that never had an instance.
    const unseen = Math.min(this.unseen.size, Math.ceil(this.#size / 100));
    const takingTurns = services - this.unseen.size + unseen;
    const waitMs = isShared
      ? Math.min(LONGEST_WAIT_MS, Math.max(SHORTEST_WAIT_MS, (ROUND_MS * this.#size) / takingTurns))
      : LONGEST_WAIT_MS;
    if (!isShared) this.#waitingLong.add(controller);
    return { controller, signal: controller.signal, waitMs };
  }
}
