/**
 * Preloaded into an operator that a test starts with `clockRate`. Its clocks and timers run faster by this factor, so a test
 * does not wait in real time for the removal guard, grace periods and slow retries. Both clocks have the same rate, because
 * the operator interprets a difference as a changed wall clock. `node:timers/promises`, `AbortSignal.timeout` and other
 * processes use real time.
 */
const rate = Number(process.env['CLOCK_RATE']);
if (!(rate >= 1))
  throw new Error(`invalid CLOCK_RATE ${process.env['CLOCK_RATE']}: set a number of at least 1`);

const faster = (clock: () => number): (() => number) => {
  const startedAt = clock();
  return () => startedAt + (clock() - startedAt) * rate;
};
Date.now = faster(Date.now);
performance.now = faster(performance.now.bind(performance));

const realTimeout = globalThis.setTimeout;
const fastTimeout = (callback: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
  realTimeout(callback, ms / rate, ...args);
// With all properties of the original, such as its promisified form.
globalThis.setTimeout = Object.assign(fastTimeout, realTimeout);
