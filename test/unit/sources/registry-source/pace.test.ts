import { describe, expect, it } from 'vitest';
import { Pace } from '../../../../src/sources/registry-source/pace.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

/** How many answers of a registry that always answers at once are read in ten seconds. */
async function answersIn10s(instances: number | undefined): Promise<number> {
  const clock = createFakeClock();
  const pace = new Pace(clock);
  let count = 0;
  while (clock.monotonic() < 10_000) {
    count += 1;
    await clock.advance(pace.pauseAfter(instances));
  }
  return count;
}

describe('the pace of blocking queries for one service', () => {
  it('follows ten quick changes without a pause', () => {
    const pace = new Pace(createFakeClock());
    expect(Array.from({ length: 10 }, () => pace.pauseAfter(3))).toEqual(Array.from({ length: 10 }, () => 0));
    expect(pace.pauseAfter(3)).toBeGreaterThan(0);
  });

  it('does not pause between changes that come every 100 ms', async () => {
    const clock = createFakeClock();
    const pace = new Pace(clock);
    for (let n = 0; n < 100; n += 1) {
      expect(pace.pauseAfter(3)).toBe(0);
      await clock.advance(100);
    }
  });

  it.each([
    ['ten times', 3, 110],
    ['once for 10,000 instances', 10_000, 11],
    ['twice without news', undefined, 22],
  ])('asks about %s per second when the registry answers at once', async (_, instances, most) => {
    expect(await answersIn10s(instances)).toBeLessThanOrEqual(most);
  });
});
