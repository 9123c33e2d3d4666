/**
 * Preloaded into an operator that a test starts with `clockRate`: its clocks and timers run that many times as fast, so that
 * a test does not wait in real time for holds, grace periods and slow retries. Both clocks go at the same rate, because the operator
 * takes a difference between them for a clock that was set. `node:timers/promises` and `AbortSignal.timeout` keep real time, and so
 * does everything outside this process.
 */
const rate = Number(process.env['CLOCK_RATE']);
if (!(rate >= 1)) throw new Error(`CLOCK_RATE is ${process.env['CLOCK_RATE']}: it must be at least 1`);

const faster = (clock: () => number): (() => number) => {
  const startedAt = clock();
  return () => startedAt + (clock() - startedAt) * rate;
};
Date.now = faster(Date.now);
performance.now = faster(performance.now.bind(performance));

const realTimeout = globalThis.setTimeout;
const fastTimeout = (callback: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
  realTimeout(callback, ms / rate, ...args);
// With what else the original carries, such as its promisified form.
globalThis.setTimeout = Object.assign(fastTimeout, realTimeout);
