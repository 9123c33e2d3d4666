import type { Catalog } from '../../catalog.ts';
import type { Config } from '../../config/config.ts';
import { permissionsNeeded } from '../../kube/rbac.ts';
import { systemClock } from '../../runtime/clock.ts';
import { withCluster } from '../with-cluster.ts';
import { check } from './check.ts';
import { findingsJson, findingsText } from './finding.ts';

/** Runs `check` and prints the findings. Resolves to the exit code. */
export async function runCheck(catalog: Catalog, config: Config, output: 'text' | 'json'): Promise<number> {
  return await withCluster(config.kubeconfig, async ({ transport, kubeConfig }, signal) => {
    const findings = await check(
      {
        catalog,
        transport,
        server: kubeConfig.getCurrentCluster()?.server ?? '',
        permissions: permissionsNeeded(catalog.followedKinds, config),
        operatorNamespace: config.operatorNamespace,
        watchRegistries: config.watchRegistries,
        namespaces: config.namespaces,
        leaseName: config.leaderElection.enabled ? config.leaderElection.leaseName : undefined,
        now: systemClock.now(),
        clock: systemClock,
        requestTimeoutMs: config.requestTimeout,
      },
      signal,
    );
    process.stdout.write(output === 'json' ? findingsJson(findings) : findingsText(findings));
    return findings.every(({ ok }) => ok) ? 0 : 1;
  });
}
