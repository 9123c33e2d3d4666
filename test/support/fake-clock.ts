import type { Clock } from '../../src/runtime/clock.ts';

/** Time that moves only when it is told to. */
export interface FakeClock extends Clock {
  /** Lets `ms` pass; timers fire in order on the way, and what they set off runs before the next one. */
  advance(ms: number): Promise<void>;
  /** Moves the wall clock alone, as an administrator or NTP would. */
  setWall(ms: number): void;
  /** Timers that wait. */
  readonly pending: number;
}

/** Lets everything run that does not wait for time or for the outside. */
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
