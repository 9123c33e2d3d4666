import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBackoff } from '../../../src/runtime/backoff.ts';

const fixed = { baseMs: 100, factor: 2, maxMs: 1000, jitter: 0, random: () => 0.5 };

describe('createBackoff', () => {
  it('grows by the factor up to the maximum, and starts over after a reset', () => {
    const backoff = createBackoff(fixed);
    expect(Array.from({ length: 6 }, () => backoff.next())).toEqual([100, 200, 400, 800, 1000, 1000]);
    backoff.reset();
    expect(backoff.next()).toBe(100);
  });

  it('stays at the maximum if the power overflows', () => {
    const backoff = createBackoff(fixed);
    for (let failure = 0; failure < 2000; failure += 1) backoff.next();
    expect(backoff.next()).toBe(1000);
  });

  it('keeps every delay within the jitter range and the maximum', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.integer({ min: 0, max: 20 }),
        (chance, failures) => {
          const backoff = createBackoff({ ...fixed, jitter: 0.4, random: () => chance });
          for (let failure = 0; failure < failures; failure += 1) backoff.next();
          const plain = Math.min(1000, 100 * 2 ** failures);
          const pause = backoff.next();
          expect(pause).toBeGreaterThanOrEqual(plain * 0.8);
          expect(pause).toBeLessThanOrEqual(Math.min(1000, plain * 1.2));
        },
      ),
    );
  });
});
