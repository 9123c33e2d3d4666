import { describe, expect, it } from 'vitest';
import { Pace, SharedPace } from '../../../../src/sources/registry-source/pace.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function paces() {
  const clock = createFakeClock();
  const shared = new SharedPace(clock);
  return { clock, create: () => new Pace(clock, shared) };
}

/** How many answers of a registry that always answers at once are read in 100 seconds. */
async function answersIn100s(instances: number | undefined, read?: number): Promise<number> {
  const { clock, create } = paces();
  const pace = create();
  let count = 0;
  while (clock.monotonic() < 100_000) {
    count += 1;
    await clock.advance(pace.pauseAfter(instances, read));
  }
  return count;
}

describe('the pace of blocking queries for one service', () => {
  it('follows five quick changes without a pause', () => {
    const pace = paces().create();
    expect(Array.from({ length: 5 }, () => pace.pauseAfter(3))).toEqual(Array.from({ length: 5 }, () => 0));
    expect(pace.pauseAfter(3)).toBeGreaterThan(0);
  });

  it('does not pause between changes that come every second', async () => {
    const { clock, create } = paces();
    const pace = create();
    for (let n = 0; n < 100; n += 1) {
      expect(pace.pauseAfter(3)).toBe(0);
      await clock.advance(1000);
    }
  });

  it.each([
    ['once per second', 3, 106],
    ['every five seconds for 10,000 instances', 10_000, 22],
    ['twice per second without news', undefined, 212],
    ['every five seconds if it reads 10,000 entries without news', undefined, 22, 10_000],
    ['every ten seconds if it reads 20,000 entries for one instance', 1, 12, 20_000],
  ])('asks %s when the registry answers at once', async (_, instances, most, read?: number) => {
    expect(await answersIn100s(instances, read)).toBeLessThanOrEqual(most);
  });

  it('slows down services with many instances together, and hardly those with few', async () => {
    const { clock, create } = paces();
    const large = Array.from({ length: 20 }, create);
    const endsAt = clock.monotonic() + 100_000;
    const nextAt = large.map(() => clock.monotonic());
    let answers = 0;
    while (clock.monotonic() < endsAt) {
      for (const [index, pace] of large.entries()) {
        if ((nextAt[index] ?? 0) > clock.monotonic()) continue;
        answers += 1;
        nextAt[index] = clock.monotonic() + pace.pauseAfter(10_000);
      }
      await clock.advance(500);
    }
    // Each costs the only thread about 0.2 s. Without a common pace there would be 400.
    expect(answers).toBeLessThan(150);
    expect(create().pauseAfter(10)).toBeLessThanOrEqual(100);
  });
});
