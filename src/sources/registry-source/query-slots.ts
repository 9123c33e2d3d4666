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
  #used = 0;

  /** `services`: how many services are followed now. */
  constructor(size: number, services: () => number) {
    this.#size = size;
    this.#services = services;
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
    const waitMs = isShared
      ? Math.max(SHORTEST_WAIT_MS, (ROUND_MS * this.#size) / services)
      : LONGEST_WAIT_MS;
    if (!isShared) this.#waitingLong.add(controller);
    return { controller, signal: controller.signal, waitMs };
  }
}
