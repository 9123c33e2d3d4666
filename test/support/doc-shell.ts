import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export interface DocShell {
  /** Folder that is on the PATH and the home of the user. It contains the programs that pages call. */
  readonly programs: string;
  readonly cluster: { readonly kubeconfig: string };
  readonly gateway: { readonly adminUrl: string; readonly adminKey: string };
  /** Other variables that the page names. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: the checkout. */
  readonly cwd?: string;
}

/** Runs a shell block of a page as its reader does, with the variables that the pages use. Resolves to its standard output. */
export async function runBlock(
  script: string,
  { programs, cluster, gateway, env = {}, cwd }: DocShell,
): Promise<string> {
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], {
    ...(cwd === undefined ? {} : { cwd }),
    env: {
      PATH: `${programs}:${process.env['PATH']}`,
      HOME: programs,
      KUBECONFIG: cluster.kubeconfig,
      APISIX_ADMIN_URL: gateway.adminUrl,
      APISIX_ADMIN_KEY: gateway.adminKey,
      ...env,
    },
  });
  return stdout;
}
