import type { Catalog } from '../catalog.ts';
import type { Config } from '../config/config.ts';
import { runOperator } from '../operator.ts';
import { createLog } from '../runtime/log.ts';

/** Exit before the kubelet kills the container, which it does after 30 s by default. */
const SHUTDOWN_MS = 20_000;
/** How long to wait for open handles after the operator has stopped. */
const EXIT_DELAY_MS = 2000;

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
    // A replica that lost the Lease must exit even if a handle is still open, so that it is started again.
    setTimeout(() => {
      log.warn({ open: process.getActiveResourcesInfo() }, 'exiting with open handles');
      process.exit();
    }, EXIT_DELAY_MS).unref();
  }
}
