import type { Catalog } from '../catalog.ts';
import type { Config } from '../config/config.ts';
import { runOperator } from '../operator.ts';
import { createLog } from '../runtime/log.ts';

/** After this long a second look is not worth waiting for: Kubernetes kills after 30 s. */
const SHUTDOWN_MS = 20_000;
/** What is still open this long after the operator has ended is not waited for. */
const LEFT_OPEN_MS = 2000;

/** Runs the operator until SIGTERM or SIGINT. */
export async function run(catalog: Catalog, config: Config): Promise<void> {
  const log = createLog(config.logLevel);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => {
      log.info({ signal: name }, 'stopping');
      stop.abort();
      setTimeout(() => process.exit(1), SHUTDOWN_MS).unref();
    });
  }
  try {
    await runOperator(catalog, config, log, stop.signal);
    log.info({}, 'stopped');
  } finally {
    // Whoever lost its lease must make room for another process, whatever holds it back.
    setTimeout(() => {
      log.warn({ open: process.getActiveResourcesInfo() }, 'ending with something open');
      process.exit();
    }, LEFT_OPEN_MS).unref();
  }
}
