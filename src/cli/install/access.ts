import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import { resolve } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { stringify } from 'yaml';
import { OPERATOR } from '../../api/group.ts';
import type { KubeTransport } from '../../kube/transport.ts';
import { resourcePath } from '../../kube/transport.ts';
import type { Clock } from '../../runtime/clock.ts';
import { apply, getObject, type LiveObject, pathOf } from './applier.ts';
import { InstallError } from './install-error.ts';
import type { Manifest } from './manifests.ts';

/** The kubeconfig for an operator that runs outside the cluster. */
export interface OutOfCluster {
  /** Path of the kubeconfig to write. */
  readonly output: string;
  /** Whether to overwrite a file that this program did not write. */
  readonly overwrite: boolean;
  readonly token: { readonly kind: 'expiring'; readonly durationMs: number } | { readonly kind: 'longLived' };
}

export interface Token {
  readonly token: string;
  /** RFC 3339; undefined for one that never expires. */
  readonly expires: string | undefined;
}

/** How the kubeconfig files that this program writes begin, in all versions. */
const MARK = `# Written by ${OPERATOR} install`;
const HEADER = `${MARK}, which overwrites this file without asking.`;
const TOKEN_SECRET = `${OPERATOR}-token`;
const TOKEN_TIMEOUT_MS = 60_000;
const POLL_MS = 200;

/** Throws `InstallError` if there is a file at `output` that this program did not write. */
export async function expectOwnFile({ output, overwrite }: OutOfCluster): Promise<void> {
  if (overwrite) return;
  let content: string;
  try {
    content = await fs.readFile(output, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new InstallError(`${output} cannot be read: ${(error as Error).message}`);
  }
  if (content.startsWith(MARK)) return;
  throw new InstallError(
    `${output} exists and was not written by this command: choose another --output, or set --force to overwrite it`,
  );
}

/** Creates a token for the operator's ServiceAccount in `namespace`. Rejects with `KubeApiError` or `InstallError`. */
export async function makeToken(
  { transport, clock }: { readonly transport: KubeTransport; readonly clock: Clock },
  namespace: string,
  kind: OutOfCluster['token'],
  signal: AbortSignal,
): Promise<Token> {
  if (kind.kind === 'longLived') return await longLivedToken({ transport, clock }, namespace, signal);
  const path = resourcePath({
    group: '',
    version: 'v1',
    plural: 'serviceaccounts',
    namespace,
    name: OPERATOR,
    subresource: 'token',
  });
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: Math.ceil(kind.durationMs / 1000) },
  };
  const { status } = (await transport.send({ method: 'POST', path, body, signal })) as {
    readonly status?: { readonly token?: string; readonly expirationTimestamp?: string };
  };
  if (status?.token === undefined)
    throw new InstallError('the API server returned no token: run the command again');
  return { token: status.token, expires: status.expirationTimestamp };
}

async function longLivedToken(
  { transport, clock }: { readonly transport: KubeTransport; readonly clock: Clock },
  namespace: string,
  signal: AbortSignal,
): Promise<Token> {
  const secret = tokenSecret(namespace);
  await apply(transport, secret, signal);
  const deadline = clock.monotonic() + TOKEN_TIMEOUT_MS;
  for (;;) {
    const { data } = (await getObject(transport, pathOf(secret), signal)) ?? ({} as Partial<LiveObject>);
    const { token } = (data ?? {}) as { readonly token?: string };
    if (token !== undefined) return { token: Buffer.from(token, 'base64').toString(), expires: undefined };
    if (clock.monotonic() >= deadline) {
      throw new InstallError(
        `Kubernetes did not add a token to Secret ${namespace}/${TOKEN_SECRET} within ${TOKEN_TIMEOUT_MS / 1000} s: check that kube-controller-manager is running, or omit --long-lived`,
      );
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** The Secret of `--long-lived`, to which Kubernetes adds a token. */
export function tokenSecret(namespace: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/service-account-token',
    metadata: {
      name: TOKEN_SECRET,
      namespace,
      labels: { 'app.kubernetes.io/name': OPERATOR, 'app.kubernetes.io/managed-by': OPERATOR },
      annotations: { 'kubernetes.io/service-account.name': OPERATOR },
    },
  };
}

/** Writes a kubeconfig with `token` (mode 0600) for the cluster of `admin`. Resolves to its absolute path. */
export async function writeKubeconfig(
  output: string,
  admin: KubeConfig,
  { token, namespace }: { readonly token: string; readonly namespace: string },
): Promise<string> {
  const cluster = admin.getCurrentCluster();
  if (cluster === null)
    throw new InstallError(
      'the kubeconfig has no current cluster: set current-context to a context with a cluster',
    );
  const { server, caData, caFile, skipTLSVerify, tlsServerName } = cluster;
  const ca = caData ?? (caFile === undefined ? undefined : (await fs.readFile(caFile)).toString('base64'));
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: OPERATOR,
        cluster: {
          server,
          ...(ca === undefined ? {} : { 'certificate-authority-data': ca }),
          ...(skipTLSVerify ? { 'insecure-skip-tls-verify': true } : {}),
          ...(tlsServerName === undefined ? {} : { 'tls-server-name': tlsServerName }),
        },
      },
    ],
    users: [{ name: OPERATOR, user: { token } }],
    contexts: [{ name: OPERATOR, context: { cluster: OPERATOR, user: OPERATOR, namespace } }],
    'current-context': OPERATOR,
  };
  const path = resolve(output);
  // A rename is atomic, so that a running operator never reads an incomplete file.
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    await fs.writeFile(draft, `${HEADER}\n${stringify(kubeconfig, { lineWidth: 0 })}`, {
      mode: 0o600,
      flag: 'wx',
    });
    await fs.rename(draft, path);
  } catch (error) {
    await fs.rm(draft, { force: true });
    throw new InstallError(`${output} cannot be written: ${(error as Error).message}`);
  }
  return path;
}
