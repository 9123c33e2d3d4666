import { OPERATOR } from '../api/group.ts';
import { KubeApiError } from '../kube/kube-error.ts';
import { loadKubeConfig } from '../kube/kubeconfig.ts';
import { createTransport } from '../kube/transport.ts';
import { systemClock } from '../runtime/clock.ts';
import type { InstallDeps } from './install/install.ts';
import { InstallError } from './install/install-error.ts';
import { PlanError } from './plan/plan-error.ts';

/** Runs `work` with the cluster of a kubeconfig, until SIGTERM or SIGINT. Prints an expected error as one line. */
export async function withCluster(
  kubeconfig: string | undefined,
  work: (cluster: Omit<InstallDeps, 'catalog'>, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  return await untilStopped(async (signal) => {
    const kubeConfig = loadKubeConfig(kubeconfig);
    const transport = createTransport({ kubeConfig, userAgent: OPERATOR });
    try {
      const print = (line: string) => process.stdout.write(`${line}\n`);
      return await work({ transport, kubeConfig, clock: systemClock, print }, signal);
    } finally {
      transport.close();
    }
  });
}

/** Runs `work` until SIGTERM or SIGINT. Resolves to the exit code. Prints an expected error. */
export async function untilStopped(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () =>
      stop.abort(new InstallError(`stopped by ${name}: run the command again to continue`)),
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

function remedyOf(error: KubeApiError): string {
  if (error.status === 401)
    return ': the credentials in the kubeconfig are wrong or expired; renew them and run the command again';
  if (error.status === 403)
    return ': use the kubeconfig of a user who has this permission, and run the command again';
  return '';
}
