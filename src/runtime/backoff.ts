export interface BackoffOptions {
  readonly baseMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** Random share of each delay, 0 to 1. For example, 0.2 gives 90 % to 110 % of the delay, at most `maxMs`. */
  readonly jitter: number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Exponential backoff with jitter. */
export interface Backoff {
  /** The next delay in milliseconds. */
  next(): number;
  /** Starts over with the first delay. */
  reset(): void;
}

export function createBackoff({ baseMs, factor, maxMs, jitter, random }: BackoffOptions): Backoff {
  let failures = 0;
  return {
    next() {
      const delayMs = Math.min(maxMs, baseMs * factor ** failures);
      failures += 1;
      return Math.min(maxMs, delayMs * (1 - jitter / 2 + jitter * random()));
    },
    reset() {
      failures = 0;
    },
  };
}
