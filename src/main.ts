#!/usr/bin/env node
import { readCommand, USAGE } from './cli.ts';
import { ConfigError } from './config.ts';
import { runOperator } from './operator.ts';
import { createLog } from './runtime/log.ts';

/** After this long a second look is not worth waiting for: Kubernetes kills after 30 s. */
const SHUTDOWN_MS = 20_000;

async function main(): Promise<number> {
  const command = readCommand(process.argv.slice(2), process.env);
  if (command.kind === 'help') {
    process.stdout.write(USAGE);
    return 0;
  }
  if (command.kind !== 'run') return 0;
  const log = createLog(command.config.logLevel);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => {
      log.info({ signal: name }, 'stopping');
      stop.abort();
      setTimeout(() => process.exit(1), SHUTDOWN_MS).unref();
    });
  }
  await runOperator(command.config, log, stop.signal);
  log.info({}, 'stopped');
  return 0;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
    else createLog('error').error({ err: error }, 'the operator could not go on');
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  },
);
