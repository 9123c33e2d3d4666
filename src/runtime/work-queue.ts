import type { Clock } from './clock.ts';
import { Lane, type Place, PRIORITY, type Priority } from './lane.ts';
import type { Pace } from './pace.ts';

/** What happens to a key after its run. A run that rejects counts as `backoff`. */
export type Result =
  | { readonly kind: 'done' }
  | { readonly kind: 'after'; readonly delayMs: number }
  /** Run again after a delay that grows with each consecutive failure, up to `maxMs`. */
  | { readonly kind: 'backoff'; readonly maxMs?: number };

export interface WorkQueueOptions {
  readonly run: (key: string, signal: AbortSignal) => Promise<Result>;
  /** Delay before a retry, in milliseconds. `failures` is the number of consecutive failures, from 1. */
  readonly backoffMs: (failures: number) => number;
  readonly clock: Clock;
  /** Called when a run rejects. That is a defect: a run turns expected errors into a `Result`. */
  readonly onError: (key: string, error: unknown) => void;
  /** Called when a run starts. `waitedMs` is the time since its key was added. */
  readonly onBegin?: (lane: string, waitedMs: number) => void;
  /** Called when a lane that is not kept becomes idle and is dropped. */
  readonly onIdle?: (lane: string) => void;
  /** Slows lanes down while urgent events arrive. Absent: never. */
  readonly pace?: Pace;
}

/** Runs block the event loop for at most this long. Then watches, responses, lease renewals and probes get their turn. */
const MAX_TURN_MS = 2;

/** Maximum number of concurrent runs in a lane. */
interface Concurrency {
  readonly usual: number;
  /** While `WorkQueueOptions.pace` is slow. */
  readonly slow: number;
  /** Number of slots reserved for endpoint changes. */
  readonly reserved: number;
}

const ONE_AT_A_TIME: Concurrency = { usual: 1, slow: 1, reserved: 0 };

interface Entry {
  lane: string;
  priority: Priority;
  running: boolean;
  /** Added since its last run started. */
  dirty: boolean;
  /** When it became dirty, on the monotonic clock. */
  dirtySince: number;
  /** Its current place in a lane. The lane skips places that were given up. */
  place: Place | undefined;
  failures: number;
  timer: { readonly at: number; readonly handle: Disposable } | undefined;
}

/**
 * A queue of keys. A waiting key runs once, however often it was added. A key never runs twice at the same time. A key that
 * is added while it runs is run again. Each lane has its own concurrency, so that a lane that hangs does not affect the
 * others. A lane exists while it has work, or is kept if its concurrency was set.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #lanes = new Map<string, Lane>();
  /** Concurrency of the lanes that are kept. */
  readonly #concurrency = new Map<string, Concurrency>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  /** When the first run of this event loop turn started, on the monotonic clock. */
  #turnBegan: number | undefined;
  /** Lanes that continue in a later microtask or turn. */
  readonly #resuming = new Set<string>();

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    options.pace?.onChange(() => {
      for (const [name, lane] of this.#lanes) this.#adjust(name, lane);
    });
  }

  /**
   * Number of waiting and running keys by lane. Keys that wait for a timer are not counted. An idle lane that is kept has
   * 0.
   */
  depths(): ReadonlyMap<string, number> {
    const depths = new Map([...this.#lanes.keys()].map((lane) => [lane, 0]));
    for (const { lane, dirty, running } of this.#entries.values()) {
      if (dirty || running) depths.set(lane, (depths.get(lane) ?? 0) + 1);
    }
    return depths;
  }

  /** Sets the concurrency of `lane` until it is released. The default is one run at a time. */
  setConcurrency(
    lane: string,
    usual: number,
    { slow = usual, reserved = 0 }: { readonly slow?: number; readonly reserved?: number } = {},
  ): void {
    this.#concurrency.set(lane, { usual, slow: Math.min(slow, usual), reserved });
    this.#adjust(lane, this.#lane(lane));
  }

  /** Drops `lane` as soon as it is idle. */
  release(lane: string): void {
    this.#concurrency.delete(lane);
    this.#dropIfIdle(lane);
  }

  /**
   * Runs `key` as soon as its lane has a free slot, but not before the current synchronous code has ended. A key that waits
   * in another lane moves to `lane`.
   */
  add(key: string, lane: string, priority: Priority): void {
    if (this.#stop.signal.aborted) return;
    const entry = this.#entry(key, lane, priority);
    entry.timer?.handle[Symbol.dispose]();
    entry.timer = undefined;
    if (entry.dirty && lane === entry.lane && priority <= entry.priority) return;
    if (!entry.dirty || priority > entry.priority) entry.priority = priority;
    if (!entry.dirty) entry.dirtySince = this.#options.clock.monotonic();
    entry.dirty = true;
    entry.lane = lane;
    if (!entry.running) this.#schedule(key, entry);
  }

  /** Runs `key` after `delayMs`, unless it runs earlier. If there are several timers, the earliest one counts. */
  addAfter(key: string, delayMs: number, lane: string, priority: Priority): void {
    if (this.#stop.signal.aborted) return;
    const entry = this.#entry(key, lane, priority);
    const at = this.#options.clock.monotonic() + delayMs;
    if (entry.dirty || (entry.timer !== undefined && entry.timer.at <= at)) return;
    entry.timer?.handle[Symbol.dispose]();
    entry.timer = {
      at,
      handle: this.#options.clock.setTimer(delayMs, () => {
        entry.timer = undefined;
        this.add(key, lane, priority);
      }),
    };
  }

  /** Starts no new runs, aborts the signal of running ones, and resolves when they have ended. */
  async drain(): Promise<void> {
    this.#stop.abort();
    for (const entry of this.#entries.values()) entry.timer?.handle[Symbol.dispose]();
    for (const lane of this.#lanes.values()) lane.clear();
    await Promise.all(this.#running);
  }

  #entry(key: string, lane: string, priority: Priority): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        lane,
        priority,
        running: false,
        dirty: false,
        dirtySince: 0,
        place: undefined,
        failures: 0,
        timer: undefined,
      };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  #lane(name: string): Lane {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new Lane();
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #adjust(name: string, lane: Lane): void {
    const { usual, slow, reserved } = this.#concurrency.get(name) ?? ONE_AT_A_TIME;
    lane.concurrency = this.#options.pace?.isSlow === true ? slow : usual;
    lane.reserved = reserved;
    this.#resume(name);
  }

  #dropIfIdle(name: string): void {
    if (this.#concurrency.has(name) || this.#lanes.get(name)?.isIdle !== true) return;
    this.#lanes.delete(name);
    this.#options.onIdle?.(name);
  }

  #schedule(key: string, entry: Entry): void {
    const place: Place = { key, isGivenUp: () => entry.place !== place };
    entry.place = place;
    this.#lane(entry.lane).add(place, entry.priority);
    this.#resume(entry.lane);
  }

  /**
   * Starts the runs of a lane in a microtask, not synchronously. A store notifies of each change of a new list before it
   * applies the next change. A synchronous run would see a Service without EndpointSlices while these are being replaced.
   */
  #resume(name: string): void {
    if (this.#resuming.has(name)) return;
    this.#resuming.add(name);
    queueMicrotask(() => this.#begin(name, false));
  }

  /**
   * Chooses the next key as late as possible, because a more urgent one may have arrived. A lane that waited for a turn
   * starts at least one run, however long the runs of other lanes take.
   */
  #begin(name: string, waitedForTurn: boolean): void {
    this.#resuming.delete(name);
    const lane = this.#lanes.get(name);
    if (lane === undefined || this.#stop.signal.aborted) return;
    for (let isDue = waitedForTurn; isDue || !this.#isTurnOver(); isDue = false) {
      const next = lane.take();
      if (next === undefined) {
        this.#dropIfIdle(name);
        return;
      }
      const entry = this.#entries.get(next.key);
      if (entry === undefined) {
        next.end();
        continue;
      }
      const run = this.#run(next.key, entry).finally(() => {
        this.#running.delete(run);
        next.end();
        this.#resume(name);
      });
      this.#running.add(run);
    }
    this.#resuming.add(name);
    setImmediate(() => this.#begin(name, true));
  }

  /**
   * Whether this event loop turn has lasted too long. Runs without I/O would otherwise follow each other without a break,
   * and the lease could not be renewed during ten thousand of them.
   */
  #isTurnOver(): boolean {
    const now = this.#options.clock.monotonic();
    if (this.#turnBegan === undefined) {
      this.#turnBegan = now;
      setImmediate(() => {
        this.#turnBegan = undefined;
      });
      return false;
    }
    return now - this.#turnBegan >= MAX_TURN_MS;
  }

  async #run(key: string, entry: Entry): Promise<void> {
    entry.place = undefined;
    entry.dirty = false;
    entry.running = true;
    const { lane } = entry;
    this.#options.onBegin?.(lane, this.#options.clock.monotonic() - entry.dirtySince);
    let result: Result;
    try {
      result = await this.#options.run(key, this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#options.onError(key, error);
      result = { kind: 'backoff' };
    }
    entry.running = false;
    entry.failures = result.kind === 'backoff' ? entry.failures + 1 : 0;
    if (this.#stop.signal.aborted) return;
    if (entry.dirty) {
      this.#schedule(key, entry);
      return;
    }
    if (result.kind === 'done') {
      if (entry.timer === undefined) this.#entries.delete(key);
      return;
    }
    const delayMs =
      result.kind === 'after'
        ? result.delayMs
        : Math.min(this.#options.backoffMs(entry.failures), result.maxMs ?? Number.POSITIVE_INFINITY);
    this.addAfter(key, delayMs, lane, PRIORITY.resync);
  }
}
