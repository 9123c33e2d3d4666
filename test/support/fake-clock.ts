import type { Clock } from '../../src/runtime/clock.ts';

/** A clock that moves only when a test advances it. */
export interface FakeClock extends Clock {
  /** Advances the clock by `ms`. Timers fire in order, and their effects run before the next timer. */
  advance(ms: number): Promise<void>;
  /** Moves only the wall clock, like an administrator or NTP. */
  setWall(ms: number): void;
  /** The number of pending timers. */
  readonly pending: number;
}

/** Runs all pending work that does not wait for time or I/O. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

export function createFakeClock(wallMs = Date.parse('2026-01-01T00:00:00Z')): FakeClock {
  let monotonic = 0;
  let offset = wallMs;
  const timers = new Set<{ readonly at: number; readonly fire: () => void }>();

  const setTimer = (ms: number, fire: () => void): Disposable => {
    const timer = { at: monotonic + ms, fire };
    timers.add(timer);
    return {
      [Symbol.dispose]() {
        timers.delete(timer);
      },
    };
  };

  return {
    now: () => monotonic + offset,
    monotonic: () => monotonic,
    setTimer,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const timer = setTimer(ms, resolve);
        signal.addEventListener(
          'abort',
          () => {
            timer[Symbol.dispose]();
            reject(signal.reason);
          },
          { once: true },
        );
      }),
    get pending() {
      return timers.size;
    },
    setWall(ms) {
      offset = ms - monotonic;
    },
    async advance(ms) {
      const until = monotonic + ms;
      for (;;) {
        const next = [...timers].sort((a, b) => a.at - b.at)[0];
        if (next === undefined || next.at > until) break;
        timers.delete(next);
        monotonic = next.at;
        next.fire();
        await settle();
      }
      monotonic = until;
      await settle();
    },
  };
}
