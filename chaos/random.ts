import { createRandom as fractions, pick } from '../test/support/random.ts';

/** A pseudo-random sequence: the same seed gives the same run. */
export interface Random {
  /** From 0, less than 1. */
  fraction(): number;
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
  /** @throws RangeError for an empty list. */
  pick<T>(list: readonly T[]): T;
}

export function createRandom(seed: number): Random {
  const fraction = fractions(seed);
  return {
    fraction,
    between: (low, high) => low + Math.floor(fraction() * (high - low + 1)),
    pick: (list) => pick(list, fraction),
  };
}
