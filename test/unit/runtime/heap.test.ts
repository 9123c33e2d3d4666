import { describe, expect, it } from 'vitest';
import { shrinkOnceCalm } from '../../../src/runtime/heap.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

describe('shrinkOnceCalm', () => {
  it('collects garbage once it was calm twice in a row', async () => {
    const clock = createFakeClock();
    // In a stack of its own, so that nothing here holds it.
    const reference = (() => new WeakRef({ large: 'x'.repeat(1000) }))();
    const answers = [true, false, true, true];
    let asked = 0;
    const isCalm = () => answers[asked++] === true;
    const shrunk = shrinkOnceCalm(isCalm, clock, new AbortController().signal);
    for (let second = 1; second <= answers.length; second += 1) {
      await clock.advance(1000);
      expect(asked).toBe(second);
    }
    await shrunk;
    expect(clock.pending).toBe(0);
    expect(reference.deref()).toBeUndefined();
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    const shrunk = shrinkOnceCalm(() => false, createFakeClock(), stop.signal);
    stop.abort();
    await shrunk;
  });
});
