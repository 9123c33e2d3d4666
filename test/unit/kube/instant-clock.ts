import type { Clock } from '../../../src/runtime/clock.ts';

/** A clock whose sleeps end immediately. It advances by their duration, and records it in `pauses`. */
export interface InstantClock extends Clock {
  readonly pauses: number[];
  advance(ms: number): void;
}

export function createInstantClock(): InstantClock {
  const pauses: number[] = [];
  let now = 1_000_000;
  return {
    pauses,
    now: () => now,
    monotonic: () => now,
    advance(ms) {
      now += ms;
    },
    async sleep(ms, signal) {
      signal.throwIfAborted();
      pauses.push(ms);
      now += ms;
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    },
    setTimer() {
      throw new Error('a reflector needs no timers');
    },
  };
}
