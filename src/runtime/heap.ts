import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from './clock.ts';

/** By how much the heap may grow before it is collected, in percent, once all is listed: little of it is garbage then. */
const GROWING_PERCENT = 20;
const LOOK_MS = 1000;

/**
 * Collects what the first lists and looks left behind as soon as `isCalm` was true twice in a row: it is more than the rest
 * of the life of the process makes in an hour, and V8 would keep it (docs/decisions/0025-a-heap-that-stays-small.md).
 */
export async function shrinkOnceCalm(
  isCalm: () => boolean,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (let calm = 0; calm < 2; calm = isCalm() ? calm + 1 : 0) await clock.sleep(LOOK_MS, signal);
  } catch {
    // It ends.
    return;
  }
  setFlagsFromString(`--heap-growing-percent=${GROWING_PERCENT}`);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as NodeJS.GCFunction;
  await collect({ type: 'major', execution: 'async' });
}
