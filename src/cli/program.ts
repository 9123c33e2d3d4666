import { OPERATOR } from '../api/group.ts';
import type { Catalog } from '../catalog.ts';
import { type Config, ConfigError } from '../config/config.ts';
import { KubeApiError } from '../kube/kube-error.ts';
import { loadKubeConfig } from '../kube/kubeconfig.ts';
import { createTransport } from '../kube/transport.ts';
import { permissionsNeeded, runOperator } from '../operator.ts';
import { systemClock } from '../runtime/clock.ts';
import { createLog } from '../runtime/log.ts';
import { readCommand, USAGE } from './args.ts';
import { check } from './check/check.ts';
import { findingsJson, findingsText } from './check/finding.ts';
import { type InstallDeps, install } from './install/install.ts';
import { InstallError } from './install/install-error.ts';
import { manifestsYaml } from './install/manifests.ts';
import { makePlan, type PlanInput } from './plan/make-plan.ts';
import { inputFromCluster, inputFromFiles } from './plan/plan.ts';
import { PlanError } from './plan/plan-error.ts';
import { planExitCode, renderPlan, renderTakeOvers } from './plan/render.ts';
import { takeOvers } from './plan/take-over.ts';
import { uninstall } from './uninstall/uninstall.ts';

/** After this long a second look is not worth waiting for: Kubernetes kills after 30 s. */
const SHUTDOWN_MS = 20_000;
/** What is still open this long after the operator has ended is not waited for. */
const LEFT_OPEN_MS = 2000;

/** Does what the command line says, and sets the exit code. */
export async function runProgram(catalog: Catalog): Promise<void> {
  // `print | head`: a reader that has seen enough closes the pipe, which is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  try {
    process.exitCode = await main(catalog);
  } catch (error) {
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
    else createLog('error').error({ err: error }, 'the operator could not go on');
    // To `plan`, 2 says that there are changes.
    process.exitCode = error instanceof ConfigError && process.argv[2] !== 'plan' ? 2 : 1;
  }
}

async function main(catalog: Catalog): Promise<number> {
  const command = readCommand(process.argv.slice(2), process.env);
  switch (command.kind) {
    case 'help':
      process.stdout.write(USAGE);
      return 0;
    case 'print':
      process.stdout.write(manifestsYaml(catalog, command.manifest));
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
      return await withCluster(command.config.kubeconfig, async ({ transport, kubeConfig }, signal) => {
        const { config, output } = command;
        const findings = await check(
          {
            catalog,
            transport,
            server: kubeConfig.getCurrentCluster()?.server ?? '',
            permissions: permissionsNeeded(catalog, config),
            operatorNamespace: config.operatorNamespace,
            namespaces: config.namespaces,
            leaseName: config.leaderElection.enabled ? config.leaderElection.leaseName : undefined,
            now: systemClock.now(),
            requestTimeoutMs: config.requestTimeout,
          },
          signal,
        );
        process.stdout.write(output === 'json' ? findingsJson(findings) : findingsText(findings));
        return findings.every(({ ok }) => ok) ? 0 : 1;
      });
    case 'plan': {
      const { options, takeOver, kubeconfig, output, color } = command;
      const now = systemClock.now();
      const print = (input: PlanInput) => {
        if (takeOver !== undefined) return printTakeOvers(input, takeOver.into);
        const plan = makePlan(input);
        process.stdout.write(renderPlan(plan, output, isColored(color)));
        return planExitCode(plan);
      };
      if (options.files.length === 0) {
        return await withCluster(kubeconfig, async ({ transport }, signal) =>
          print(await inputFromCluster(options, { catalog, transport, now }, signal)),
        );
      }
      const note = (line: string) => process.stderr.write(`${line}\n`);
      return await untilStopped(async (signal) =>
        print(await inputFromFiles(options, { catalog, stdin: process.stdin, now, note }, signal)),
      );
    }
    default:
      return command satisfies never;
  }
}

async function run(catalog: Catalog, config: Config): Promise<void> {
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

/** Does `work` with the cluster of a kubeconfig, until SIGTERM or SIGINT. What goes wrong is one line. */
async function withCluster(
  kubeconfig: string | undefined,
  work: (cluster: Omit<InstallDeps, 'catalog'>, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  return await untilStopped(async (signal) => {
    const kubeConfig = loadKubeConfig(kubeconfig);
    const transport = createTransport({ kubeConfig, userAgent: OPERATOR });
    try {
      const say = (line: string) => process.stdout.write(`${line}\n`);
      return await work({ transport, kubeConfig, clock: systemClock, say }, signal);
    } finally {
      transport.close();
    }
  });
}

/** Does `work` until SIGTERM or SIGINT. What goes wrong is told, and is exit code 1. */
async function untilStopped(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () =>
      stop.abort(new InstallError(`stopped by ${name}: run the command again to go on`)),
    );
  }
  try {
    return await work(stop.signal);
  } catch (error) {
    if (!(error instanceof InstallError || error instanceof KubeApiError || error instanceof PlanError))
      throw error;
    process.stderr.write(`${error.message}${error instanceof KubeApiError ? remedyOf(error) : ''}\n`);
    return error instanceof InstallError ? error.exitCode : 1;
  }
}

function printTakeOvers(input: PlanInput, namespace: string | undefined): number {
  const all = takeOvers({ ...input, namespace });
  process.stdout.write(renderTakeOvers(all, input.gateways));
  return [...input.gateways.values()].every(({ kind }) => kind === 'listed') ? 0 : 1;
}

/** `auto`: on a terminal, unless NO_COLOR has any value (no-color.org). */
function isColored(color: 'auto' | 'always' | 'never'): boolean {
  if (color !== 'auto') return color === 'always';
  const { NO_COLOR, TERM } = process.env;
  return process.stdout.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb';
}

function remedyOf(error: KubeApiError): string {
  if (error.status === 401) return ': the credentials in the kubeconfig are wrong or expired';
  if (error.status === 403)
    return ': use a kubeconfig of somebody who has this right, and run the command again';
  return '';
}
