import { expect, it, vi } from 'vitest';
import { Pace } from '../../../src/runtime/pace.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

it('is slow from the first urgent event until 500 ms after the last one, and notifies of both changes', async () => {
  const clock = createFakeClock();
  const pace = new Pace(clock);
  const changed = vi.fn(() => pace.isSlow);
  pace.onChange(changed);
  expect(pace.isSlow).toBe(false);
  for (let n = 0; n < 100; n += 1) {
    pace.urge();
    await clock.advance(20);
    expect(pace.isSlow).toBe(true);
  }
  await clock.advance(479);
  expect(pace.isSlow).toBe(true);
  expect(clock.pending).toBe(1);
  await clock.advance(1);
  expect(pace.isSlow).toBe(false);
  pace.urge();
  expect(changed.mock.results.map(({ value }) => value)).toEqual([true, false, true]);
});

it('leaves no timer behind', () => {
  const clock = createFakeClock();
  const pace = new Pace(clock);
  pace.urge();
  pace[Symbol.dispose]();
  expect(clock.pending).toBe(0);
});
