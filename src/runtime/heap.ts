import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from './clock.ts';
import type { Logger } from './logger.ts';

/** What the heap may grow by before it is collected, once all is listed: so much, but at least this share of it. */
const GROWING_BYTES = 20 * 1024 * 1024;
const LEAST_GROWING_PERCENT = 20;
const LOOK_MS = 1000;

/**
 * Collects what the first lists and looks left behind as soon as `isCalm` was true twice in a row: it is more than the rest
 * of the life of the process makes in an hour, and V8 would keep it (docs/decisions/0025-a-heap-that-stays-small.md).
 */
export async function shrinkOnceCalm(
  isCalm: () => boolean,
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (let calm = 0; calm < 2; calm = isCalm() ? calm + 1 : 0) await clock.sleep(LOOK_MS, signal);
  } catch {
    // It ends.
    return;
  }
  try {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as NodeJS.GCFunction;
    // Thoroughly: what is left lies scattered, and half of the pages could not be given back.
    await collect({ type: 'major', execution: 'async', flavor: 'last-resort' });
    const percent = Math.ceil((GROWING_BYTES / process.memoryUsage().heapUsed) * 100);
    setFlagsFromString(`--heap-growing-percent=${Math.max(percent, LEAST_GROWING_PERCENT)}`);
  } catch (err) {
    // Of a Node that promises none of this.
    log.debug({ err }, 'the heap was not collected');
  }
}
