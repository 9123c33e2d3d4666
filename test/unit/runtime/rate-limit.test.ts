import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createRateLimit } from '../../../src/runtime/rate-limit.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('createRateLimit', () => {
  it('starts all requests immediately without a limit', () => {
    const limit = createRateLimit(undefined);
    let running = 0;
    for (let n = 0; n < 100; n += 1) void limit(() => new Promise(() => (running += 1)));
    expect(running).toBe(100);
  });

  it('starts requests in order, and never more than the limit in any window of one second', async () => {
    const limit = createRateLimit(5);
    const begun: { readonly request: number; readonly at: number }[] = [];
    const request = (number: number) =>
      limit(() => {
        begun.push({ request: number, at: Date.now() });
        return Promise.resolve(number);
      });
    const first = Array.from({ length: 3 }, (_, at) => request(at));
    await vi.advanceTimersByTimeAsync(900);
    expect(begun).toHaveLength(3);
    const later = Array.from({ length: 20 }, (_, at) => request(3 + at));
    await vi.advanceTimersByTimeAsync(50);
    expect(begun).toHaveLength(5);
    await vi.runAllTimersAsync();
    const inOrder = Array.from({ length: 23 }, (_, at) => at);
    expect(await Promise.all([...first, ...later])).toEqual(inOrder);
    expect(begun.map((one) => one.request)).toEqual(inOrder);
    for (const { at } of begun) {
      const within = begun.filter((other) => other.at >= at && other.at < at + 1000);
      expect(within.length).toBeLessThanOrEqual(5);
    }
  });

  it('does not wait for running requests, and returns their result or error', async () => {
    const limit = createRateLimit(2);
    const failure = new Error('refused');
    void limit(() => new Promise(() => undefined));
    const failing = expect(limit(() => Promise.reject(failure))).rejects.toBe(failure);
    const fine = limit(() => Promise.resolve('fine'));
    await vi.runAllTimersAsync();
    await failing;
    expect(await fine).toBe('fine');
  });
});
