import type { Clock } from './clock.ts';
import { Lane, type Place, PRIORITY, type Priority } from './lane.ts';
import type { Pace } from './pace.ts';

/** What becomes of a key after its run. A run that rejects counts as `backoff`. */
export type Result =
  | { readonly kind: 'done' }
  | { readonly kind: 'after'; readonly delayMs: number }
  /** Again after a delay that grows with every failure in a row, up to `maxMs`. */
  | { readonly kind: 'backoff'; readonly maxMs?: number };

export interface WorkQueueOptions {
  readonly run: (key: string, signal: AbortSignal) => Promise<Result>;
  /** Milliseconds before the nth retry in a row, n from 1. */
  readonly backoffMs: (failures: number) => number;
  readonly clock: Clock;
  /** A run rejected: a defect, since runs turn what they expect into a `Result`. */
  readonly onError: (key: string, error: unknown) => void;
  /** A run begins, so long after its key was first asked for. */
  readonly onBegin?: (lane: string, waitedMs: number) => void;
  /** A lane that is not kept has nothing to do any more. */
  readonly onIdle?: (lane: string) => void;
  /** Slows lanes down while there is something more urgent elsewhere; absent: never. */
  readonly pace?: Pace;
}

/** Watches, answers, renewals of the lease and probes wait no longer than this for runs that go on and on. */
const TURN_MS = 2;

/** How many runs of a lane may be under way at once. */
interface Concurrency {
  readonly usual: number;
  /** While endpoint changes arrive (`WorkQueueOptions.pace`). */
  readonly slow: number;
  /** How many of them are for endpoint changes alone. */
  readonly reserved: number;
}

const ONE_AT_A_TIME: Concurrency = { usual: 1, slow: 1, reserved: 0 };

interface Entry {
  lane: string;
  priority: Priority;
  running: boolean;
  /** Asked for (again) since its last run began. */
  dirty: boolean;
  /** Since when it is dirty, on the monotonic clock. */
  dirtySince: number;
  /** Where it waits in its lane; places that it left for a more urgent one are passed over. */
  place: Place | undefined;
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
  readonly #lanes = new Map<string, Lane>();
  /** Of the lanes that are kept. */
  readonly #concurrency = new Map<string, Concurrency>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  /** When the first run of this turn of the event loop was about to begin, on the monotonic clock. */
  #turnBegan: number | undefined;
  /** Lanes that go on at the end of this turn. */
  readonly #resuming = new Set<string>();

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    options.pace?.follow(() => {
      for (const [name, lane] of this.#lanes) this.#adjust(name, lane);
    });
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
  setConcurrency(
    lane: string,
    usual: number,
    { slow = usual, reserved = 0 }: { readonly slow?: number; readonly reserved?: number } = {},
  ): void {
    this.#concurrency.set(lane, { usual, slow: Math.min(slow, usual), reserved });
    this.#adjust(lane, this.#lane(lane));
  }

  /** Drops `lane` as soon as it has nothing to do. */
  release(lane: string): void {
    this.#concurrency.delete(lane);
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
    await Promise.all(this.#underWay);
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
   * Begins what may run of a lane, but not in this stack: a store tells of each change of a new list before it has made the
   * next one, so that a run in that stack would take a Service whose slices were replaced for one without any.
   */
  #resume(name: string): void {
    if (this.#resuming.has(name)) return;
    this.#resuming.add(name);
    queueMicrotask(() => this.#begin(name, false));
  }

  /**
   * What runs next is chosen as late as can be: something more urgent may have come meanwhile. A lane that waited for a
   * turn begins one run at least, however long others take.
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
        this.#underWay.delete(run);
        next.end();
        this.#resume(name);
      });
      this.#underWay.add(run);
    }
    this.#resuming.add(name);
    setImmediate(() => this.#begin(name, true));
  }

  /**
   * Whether this turn of the event loop has lasted long. Runs that ask nobody anything follow one another without end
   * otherwise, and a lease is lost over ten thousand of them.
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
    return now - this.#turnBegan >= TURN_MS;
  }

  async #run(key: string, entry: Entry): Promise<void> {
    entry.place = undefined;
    entry.dirty = false;
    entry.running = true;
    const { lane } = entry;
    this.#options.onBegin?.(lane, this.#options.clock.monotonic() - entry.dirtySince);
    let followup: Result;
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
