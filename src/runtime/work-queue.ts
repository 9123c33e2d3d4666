import { setImmediate as nextTurn } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { Clock } from './clock.ts';

/** What becomes of a key after its run. A run that rejects counts as `backoff`. */
export type Followup =
  | { readonly kind: 'done' }
  | { readonly kind: 'after'; readonly delayMs: number }
  /** Again after a delay that grows with every failure in a row, up to `maxMs`. */
  | { readonly kind: 'backoff'; readonly maxMs?: number };

/** What a key waits for, most urgent first. */
export const PRIORITY = { spec: 2, endpoints: 1, resync: 0 } as const;
export type Priority = (typeof PRIORITY)[keyof typeof PRIORITY];

export interface WorkQueueOptions {
  readonly run: (key: string, signal: AbortSignal) => Promise<Followup>;
  /** Milliseconds before the nth retry in a row, n from 1. */
  readonly backoffMs: (failures: number) => number;
  readonly clock: Clock;
  /** A run rejected: a defect, since runs turn what they expect into a `Followup`. */
  readonly onError: (key: string, error: unknown) => void;
  /** A run begins, so long after its key was first asked for. */
  readonly onBegin?: (lane: string, waitedMs: number) => void;
  /** A lane that is not kept has nothing to do any more. */
  readonly onIdle?: (lane: string) => void;
}

/** Answers, renewals of the lease and probes wait no longer than this for runs that go on and on. */
const TURN_MS = 20;

interface Entry {
  lane: string;
  priority: Priority;
  running: boolean;
  /** Asked for (again) since its last run began. */
  dirty: boolean;
  /** Since when it is dirty, on the monotonic clock. */
  dirtySince: number;
  /** Where it waits in its lane; places that it left for a more urgent one are passed over. */
  place: symbol | undefined;
  failures: number;
  timer: { readonly at: number; readonly handle: Disposable } | undefined;
}

/**
 * A queue of keys, not of events: a key that waits is run once however often it was added, never twice at the same
 * time, and once more if it was added while it ran. Each lane has its own concurrency, so that one that hangs leaves
 * the others alone. A lane exists while it has something to do, or is kept because its concurrency was set.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #lanes = new Map<string, PQueue>();
  /** Lanes whose concurrency was set. */
  readonly #kept = new Set<string>();
  readonly #stop = new AbortController();
  /** When the first run of this turn of the event loop was about to begin, on the monotonic clock. */
  #turnBegan: number | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Keys that wait or run, by lane; a lane that is kept and idle has 0. Keys that wait for a timer only are not counted. */
  depths(): ReadonlyMap<string, number> {
    const depths = new Map([...this.#lanes.keys()].map((lane) => [lane, 0]));
    for (const { lane, dirty, running } of this.#entries.values()) {
      if (dirty || running) depths.set(lane, (depths.get(lane) ?? 0) + 1);
    }
    return depths;
  }

  /** How many runs of `lane` may be under way at once, until it is released. Lanes that were never set run one at a time. */
  setConcurrency(lane: string, concurrency: number): void {
    this.#kept.add(lane);
    this.#lane(lane).concurrency = concurrency;
  }

  /** Drops `lane` as soon as it has nothing to do. */
  release(lane: string): void {
    this.#kept.delete(lane);
    this.#dropIfIdle(lane);
  }

  /**
   * Runs `key` as soon as its lane lets it, but never before the caller's own turn has ended. A key that waits in another
   * lane moves to `lane`.
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

  /** Runs `key` after `delayMs`, unless it runs before; the earliest of several timers counts. */
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

  /** Begins nothing new, tells what runs to stop, and resolves when it has. */
  async drain(): Promise<void> {
    this.#stop.abort();
    for (const entry of this.#entries.values()) entry.timer?.handle[Symbol.dispose]();
    for (const lane of this.#lanes.values()) lane.clear();
    await Promise.all([...this.#lanes.values()].map((lane) => lane.onIdle()));
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

  #lane(name: string): PQueue {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new PQueue({ concurrency: 1 });
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #dropIfIdle(name: string): void {
    const lane = this.#lanes.get(name);
    if (lane === undefined || this.#kept.has(name) || lane.size > 0 || lane.pending > 0) return;
    this.#lanes.delete(name);
    this.#options.onIdle?.(name);
  }

  #schedule(key: string, entry: Entry): void {
    const place = Symbol();
    entry.place = place;
    const { lane } = entry;
    this.#lane(lane)
      .add(
        async () => {
          // p-queue would start it inside `add`. A store tells of each change of a new list before it has made the next
          // one, so that a run in that stack would take a Service whose slices were replaced for one without any.
          await this.#turn();
          if (entry.place === place && !this.#stop.signal.aborted) await this.#run(key, entry);
        },
        // A second place costs less than `setPriority`, which looks at everything that waits.
        { priority: entry.priority },
      )
      // Only `clear()` in `drain` rejects what waits, and then nobody is interested.
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) this.#options.onError(key, error);
      })
      .finally(() => this.#dropIfIdle(lane));
  }

  /**
   * Resolves in this turn of the event loop, or in the next one where this one has lasted long. Runs that ask nobody
   * anything follow one another without end otherwise, and a lease is lost over ten thousand of them.
   */
  async #turn(): Promise<void> {
    const now = this.#options.clock.monotonic();
    if (this.#turnBegan === undefined) {
      this.#turnBegan = now;
      setImmediate(() => {
        this.#turnBegan = undefined;
      });
    } else if (now - this.#turnBegan >= TURN_MS) await nextTurn();
  }

  async #run(key: string, entry: Entry): Promise<void> {
    entry.place = undefined;
    entry.dirty = false;
    entry.running = true;
    const { lane } = entry;
    this.#options.onBegin?.(lane, this.#options.clock.monotonic() - entry.dirtySince);
    let followup: Followup;
    try {
      followup = await this.#options.run(key, this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#options.onError(key, error);
      followup = { kind: 'backoff' };
    }
    entry.running = false;
    entry.failures = followup.kind === 'backoff' ? entry.failures + 1 : 0;
    if (this.#stop.signal.aborted) return;
    if (entry.dirty) {
      this.#schedule(key, entry);
      return;
    }
    if (followup.kind === 'done') {
      if (entry.timer === undefined) this.#entries.delete(key);
      return;
    }
    const delayMs =
      followup.kind === 'after'
        ? followup.delayMs
        : Math.min(this.#options.backoffMs(entry.failures), followup.maxMs ?? Number.POSITIVE_INFINITY);
    this.addAfter(key, delayMs, lane, PRIORITY.resync);
  }
}
