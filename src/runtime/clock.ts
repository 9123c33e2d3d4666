/** Time, as a parameter: tests steer it. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. May jump. */
  now(): number;
  /** Milliseconds since some fixed moment. Never goes back. */
  monotonic(): number;
  /** Resolves after `ms`, or after 24 days if that is less; rejects with the signal's reason if it aborts first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls `fire` after `ms`, or after 24 days if that is less, unless disposed first. */
  setTimer(ms: number, fire: () => void): Disposable;
}

/** Node runs a timer of more than this at once. */
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
