import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import { resolve } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { stringify } from 'yaml';
import { OPERATOR } from '../../api/group.ts';
import type { KubeTransport } from '../../kube/transport.ts';
import { resourcePath } from '../../kube/transport.ts';
import type { Clock } from '../../runtime/clock.ts';
import { apply, type Held, held, pathOf } from './applier.ts';
import { InstallError } from './install-error.ts';
import type { Manifest } from './manifests.ts';

/** How an operator that runs outside the cluster gets in. */
export interface OutOfCluster {
  /** Path of the kubeconfig to write. */
  readonly output: string;
  /** Also over a file that this program did not write. */
  readonly overwrite: boolean;
  readonly token: { readonly kind: 'expiring'; readonly durationMs: number } | { readonly kind: 'longLived' };
}

export interface Token {
  readonly token: string;
  /** RFC 3339; undefined for one that never expires. */
  readonly expires: string | undefined;
}

/** The first line of every kubeconfig that this program writes. */
const MARK = `# Written by ${OPERATOR} install: it is replaced without a question.`;
const TOKEN_SECRET = `${OPERATOR}-token`;
const FILLED_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 200;

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
    `${output} exists, and this command did not write it: give another --output, or --force to replace it`,
  );
}

/** A token of the operator's ServiceAccount in `namespace`. Rejects with `KubeApiError` or `InstallError`. */
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
  if (status?.token === undefined) throw new InstallError('the API server made no token');
  return { token: status.token, expires: status.expirationTimestamp };
}

async function longLivedToken(
  { transport, clock }: { readonly transport: KubeTransport; readonly clock: Clock },
  namespace: string,
  signal: AbortSignal,
): Promise<Token> {
  const secret = tokenSecret(namespace);
  await apply(transport, secret, signal);
  const deadline = clock.monotonic() + FILLED_WITHIN_MS;
  for (;;) {
    const { data } = (await held(transport, pathOf(secret), signal)) ?? ({} as Partial<Held>);
    const { token } = (data ?? {}) as { readonly token?: string };
    if (token !== undefined) return { token: Buffer.from(token, 'base64').toString(), expires: undefined };
    if (clock.monotonic() >= deadline) {
      throw new InstallError(
        `Kubernetes did not fill Secret ${namespace}/${TOKEN_SECRET} within ${FILLED_WITHIN_MS / 1000} s: does kube-controller-manager run? Otherwise leave --long-lived out`,
      );
    }
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}

/** The Secret of `--long-lived`, which Kubernetes fills with a token. */
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

/** Writes a kubeconfig with `token`, mode 0600, for the cluster of `admin`. Resolves to its absolute path. */
export async function writeKubeconfig(
  output: string,
  admin: KubeConfig,
  { token, namespace }: { readonly token: string; readonly namespace: string },
): Promise<string> {
  const cluster = admin.getCurrentCluster();
  if (cluster === null) throw new InstallError('the kubeconfig names no cluster');
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
  // Beside it and then in its place: an operator that reads it meanwhile never sees half of it.
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    await fs.writeFile(draft, `${MARK}\n${stringify(kubeconfig, { lineWidth: 0 })}`, {
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
