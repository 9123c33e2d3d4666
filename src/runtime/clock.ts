/** Time as a dependency, so that tests can control it. */
export interface Clock {
  /** Wall clock in milliseconds since 1970. May jump. */
  now(): number;
  /** Monotonic clock in milliseconds since a fixed moment. */
  monotonic(): number;
  /** Resolves after `ms`, at most after 24 days. Rejects with the signal's reason if it aborts first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls `fire` after `ms`, at most after 24 days, unless disposed first. */
  setTimer(ms: number, fire: () => void): Disposable;
}

/** Node.js fires a longer timer immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const abort = () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      };
      const timer = setTimeout(
        () => {
          signal.removeEventListener('abort', abort);
          resolve();
        },
        Math.min(ms, MAX_TIMER_MS),
      );
      signal.addEventListener('abort', abort, { once: true });
    });
  },
  setTimer(ms, fire) {
    const timer = setTimeout(fire, Math.min(ms, MAX_TIMER_MS));
    return {
      [Symbol.dispose]() {
        clearTimeout(timer);
      },
    };
  },
};
