import { describe, expect, it, vi } from 'vitest';
import { shrinkOnceCalm } from '../../../src/runtime/heap.ts';
import type { Logger } from '../../../src/runtime/logger.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const log: Logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };

describe('shrinkOnceCalm', () => {
  it('collects garbage once it was calm twice in a row', async () => {
    const clock = createFakeClock();
    // In a stack of its own, so that nothing here holds it.
    const reference = (() => new WeakRef({ large: 'x'.repeat(1000) }))();
    const answers = [true, false, true, true];
    let asked = 0;
    const isCalm = () => answers[asked++] === true;
    const shrunk = shrinkOnceCalm(isCalm, clock, log, new AbortController().signal);
    for (let second = 1; second <= answers.length; second += 1) {
      await clock.advance(1000);
      expect(asked).toBe(second);
    }
    await shrunk;
    expect(clock.pending).toBe(0);
    expect(reference.deref()).toBeUndefined();
    expect(log.debug).not.toHaveBeenCalled();
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    const shrunk = shrinkOnceCalm(() => false, createFakeClock(), log, stop.signal);
    stop.abort();
    await shrunk;
  });
});
