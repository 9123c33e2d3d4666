export interface BackoffOptions {
  readonly baseMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** Share of each delay that is random, 0 to 1: 0.2 gives 90 % to 110 % of it, never more than `maxMs`. */
  readonly jitter: number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Growing pauses between tries. */
export interface Backoff {
  /** The next pause in milliseconds. */
  next(): number;
  /** The next pause is the first one again. */
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
