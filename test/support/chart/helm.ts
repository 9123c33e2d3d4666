import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterAccess } from '../control-plane/cluster-access.ts';
import { CHART } from './chart-files.ts';
import { ensureHelm } from './helm-binary.ts';

/** Absolute path of the chart in this repository. */
export const CHART_DIR = fileURLToPath(new URL(`../../../${CHART}`, import.meta.url));

/** Runs helm as cluster admin; resolves to its standard output, rejects with its standard error in the message. */
export type Helm = (args: readonly string[], options?: { readonly values?: object }) => Promise<string>;

const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;

/** helm with this control plane, without the user's configuration, cache and plugins. */
export function createHelm(cluster: ClusterAccess): Helm {
  const folder = (name: string) => join(cluster.dir, `helm-${name}`);
  const env = {
    HOME: cluster.dir,
    PATH: '/usr/bin:/bin',
    KUBECONFIG: cluster.kubeconfig,
    HELM_CACHE_HOME: folder('cache'),
    HELM_CONFIG_HOME: folder('config'),
    HELM_DATA_HOME: folder('data'),
  };
  return async (args, { values } = {}) => {
    const helm = await ensureHelm();
    const withValues = values === undefined ? args : [...args, '--values', '-'];
    return await new Promise<string>((settle, fail) => {
      const limits = { env, maxBuffer: OUTPUT_LIMIT_BYTES };
      const child = execFile(helm, withValues, limits, (cause, stdout, stderr) => {
        if (cause === null) settle(stdout);
        else
          fail(new Error(`helm ${args.join(' ')}: ${stderr.trim() || stdout || cause.message}`, { cause }));
      });
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(values === undefined ? '' : JSON.stringify(values));
    });
  };
}

/** The output of `helm template` with these values, for a cluster of this version. */
export function templateArgs(release: string, namespace: string): readonly string[] {
  // A helm that is built from a Go module has no default Kubernetes version.
  return ['template', release, CHART_DIR, '--namespace', namespace, '--kube-version', '1.37.2'];
}
