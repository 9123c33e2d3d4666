import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { Agent, request as httpsRequest } from 'node:https';
import { basename, join } from 'node:path';
import { eventually } from '../eventually.ts';
import type { Binaries } from './binaries.ts';

/** The data to access a control plane, as strings, so that other processes can use it. */
export interface ClusterCoordinates {
  /** `https://127.0.0.1:PORT` */
  readonly server: string;
  readonly caPem: string;
  /** The folder of the control plane, which is removed when it is closed. */
  readonly dir: string;
  /** Path of a kubeconfig of a cluster admin (group system:masters), mode 0600. */
  readonly kubeconfig: string;
  readonly adminToken: string;
  /** PKCS #8, RSA: signs ServiceAccount tokens (RS256) that the API server accepts. */
  readonly serviceAccountKeyPem: string;
  readonly binaries: Binaries;
}

interface KubectlOptions {
  /** Standard input. */
  readonly input?: string;
  /** The path of a kubeconfig. Default: the cluster admin's. */
  readonly kubeconfig?: string;
  readonly signal?: AbortSignal;
}

interface RequestOptions {
  /** Default: JSON, and a merge patch for PATCH. */
  readonly contentType?: string;
  /** A bearer token. Default: the cluster admin's credentials. */
  readonly token?: string;
}

interface Answer {
  readonly status: number;
  /** The parsed body if it is JSON, otherwise text; undefined without a body. */
  readonly body: unknown;
}

interface ClusterUser {
  readonly name: string;
  readonly token: string;
  readonly namespace?: string;
}

interface NamespaceOptions {
  /** Also wait for the default ServiceAccount, without which the API server rejects new Pods with 403. */
  readonly awaitServiceAccount?: boolean;
}

export interface ClusterAccess extends ClusterCoordinates {
  /**
   * Runs the kubectl that belongs to this control plane, without the user's own configuration and cache.
   * Resolves to its standard output; rejects with its standard error in the message.
   */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<string>;
  /** Writes a kubeconfig (mode 0600) with this bearer token into the control plane's folder and resolves to its path. */
  kubeconfigFor(user: ClusterUser): Promise<string>;
  /**
   * One request over a kept-alive connection, as cluster admin unless told otherwise. A body that is a string is sent
   * as it is, another one as JSON. Every status resolves; rejects only when no answer came within 30 s of silence.
   */
  request(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<Answer>;
  /** Makes `<prefix>-<8 hexadecimal digits>` and resolves to this name. */
  newNamespace(prefix: string, options?: NamespaceOptions): Promise<string>;
}

const SILENCE_MS = 30_000;
const SERVICE_ACCOUNT_WITHIN_MS = 60_000;
const OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024;

export function createClusterAccess(coordinates: ClusterCoordinates): ClusterAccess {
  const { server, caPem, dir, kubeconfig, adminToken, binaries } = coordinates;
  const agent = new Agent({ keepAlive: true, ca: caPem });

  const request: ClusterAccess['request'] = (method, path, body, options = {}) => {
    const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const jsonType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const headers: Record<string, string> = {
      accept: 'application/json',
      authorization: `Bearer ${options.token ?? adminToken}`,
    };
    if (payload !== undefined) headers['content-type'] = options.contentType ?? jsonType;
    return new Promise<Answer>((settle, fail) => {
      const failed = (cause: Error) => fail(new Error(`${method} ${path}: ${cause.message}`, { cause }));
      const outgoing = httpsRequest(new URL(path, server), { method, headers, agent }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.once('error', failed);
        incoming.once('end', () => {
          try {
            const text = Buffer.concat(chunks).toString();
            settle({
              status: incoming.statusCode ?? 0,
              body: parseBody(text, incoming.headers['content-type'] ?? ''),
            });
          } catch (error) {
            failed(error instanceof Error ? error : new Error(String(error)));
          }
        });
      });
      outgoing.setTimeout(SILENCE_MS, () => outgoing.destroy(new Error(`silent for ${SILENCE_MS / 1000} s`)));
      outgoing.once('error', failed);
      outgoing.end(payload);
    });
  };

  return {
    ...coordinates,
    request,
    kubectl(args, options = {}) {
      const env = { HOME: dir, PATH: '/usr/bin:/bin', KUBECONFIG: options.kubeconfig ?? kubeconfig };
      const limits = { env, maxBuffer: OUTPUT_LIMIT_BYTES, signal: options.signal };
      return new Promise<string>((settle, fail) => {
        const child = execFile(binaries.kubectl, args, limits, (cause, stdout, stderr) => {
          if (cause === null) settle(stdout);
          else fail(new Error(`kubectl ${args.join(' ')}: ${stderr.trim() || cause.message}`, { cause }));
        });
        // A kubectl that exits without reading its input breaks the pipe. Its exit code shows the reason.
        child.stdin?.on('error', () => undefined);
        child.stdin?.end(options.input ?? '');
      });
    },
    async kubeconfigFor(user) {
      const fileName = `kubeconfig-${user.name.replaceAll(/[^\w.-]/g, '_')}-${randomBytes(4).toString('hex')}`;
      const path = join(dir, fileName);
      await writeKubeconfig(path, { server, caPem, user });
      return path;
    },
    async newNamespace(prefix, options = {}) {
      const name = `${prefix}-${randomBytes(4).toString('hex')}`;
      const made = await request('POST', '/api/v1/namespaces', { metadata: { name } });
      if (made.status !== 201) {
        throw new Error(`namespace ${name}: ${made.status} ${JSON.stringify(made.body)}`);
      }
      if (options.awaitServiceAccount === true) {
        const path = `/api/v1/namespaces/${name}/serviceaccounts/default`;
        await eventually(
          async () => {
            const { status } = await request('GET', path);
            if (status !== 200) throw new Error(`the default ServiceAccount of ${name}: ${status}`);
          },
          { timeoutMs: SERVICE_ACCOUNT_WITHIN_MS },
        );
      }
      return name;
    },
  };
}

interface KubeconfigContent {
  readonly server: string;
  readonly caPem: string;
  readonly user: ClusterUser;
}

/** Writes it as JSON, which is YAML too. */
export async function writeKubeconfig(path: string, content: KubeconfigContent): Promise<void> {
  const { server, caPem, user } = content;
  const cluster = { server, 'certificate-authority-data': Buffer.from(caPem).toString('base64') };
  const name = basename(path);
  const context = { cluster: name, user: user.name, namespace: user.namespace ?? 'default' };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster }],
    users: [{ name: user.name, user: { token: user.token } }],
    contexts: [{ name, context }],
    'current-context': name,
  };
  await writeFile(path, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
}

function parseBody(text: string, contentType: string): unknown {
  if (text === '') return undefined;
  return contentType.startsWith('application/json') ? JSON.parse(text) : text;
}
