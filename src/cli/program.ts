import type { Catalog } from '../catalog.ts';
import { ConfigError } from '../config/config.ts';
import { createLog } from '../runtime/log.ts';
import { readCommand } from './args.ts';
import { runCheck } from './check/command.ts';
import { install } from './install/install.ts';
import { runPlan } from './plan/command.ts';
import { printManifests } from './print.ts';
import { run } from './run.ts';
import { uninstall } from './uninstall/uninstall.ts';
import { VERSION } from './version.ts';
import { withCluster } from './with-cluster.ts';

/** Runs the command of the command line and sets the exit code. */
export async function runProgram(catalog: Catalog): Promise<void> {
  // `print | head` closes the pipe early, which is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  try {
    process.exitCode = await main(catalog);
  } catch (error) {
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
    else createLog('error').error({ err: error }, 'the program failed');
    // `plan` uses exit code 2 for changes.
    process.exitCode = error instanceof ConfigError && process.argv[2] !== 'plan' ? 2 : 1;
  }
}

async function main(catalog: Catalog): Promise<number> {
  const command = readCommand(process.argv.slice(2), process.env);
  switch (command.kind) {
    case 'help':
      process.stdout.write(command.text);
      return 0;
    case 'version':
      process.stdout.write(`${VERSION}\n`);
      return 0;
    case 'print':
      printManifests(catalog, command.manifest);
      return 0;
    case 'run':
      await run(catalog, command.config);
      return 0;
    case 'install':
      return await withCluster(command.kubeconfig, async (cluster, signal) => {
        await install({ ...cluster, catalog }, command.manifest, command.outOfCluster, signal);
        return 0;
      });
    case 'uninstall':
      return await withCluster(command.kubeconfig, async (cluster, signal) => {
        await uninstall({ ...cluster, catalog }, command.options, signal);
        return 0;
      });
    case 'check':
      return await runCheck(catalog, command.config, command.output);
    case 'plan':
      return await runPlan(catalog, command);
    default:
      return command satisfies never;
  }
}
