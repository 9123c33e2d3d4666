import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterAccess } from '../control-plane/cluster-access.ts';

const LEASH = new URL('../leash.mjs', import.meta.url).href;

import { MAIN } from '../main.ts';

/** The path of the program in the image. */
const MAIN_IN_IMAGE = '/app/dist/main.js';

interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } };
}

/** The Pod template of a Deployment or a Job. */
export interface RenderedWorkload {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly serviceAccountName: string;
        readonly automountServiceAccountToken?: boolean;
        readonly containers: readonly {
          readonly command?: readonly string[];
          readonly args?: readonly string[];
          readonly env?: readonly EnvironmentVariable[];
          readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
        }[];
        readonly volumes?: readonly {
          readonly name: string;
          readonly configMap?: { readonly name: string };
        }[];
      };
    };
  };
}

/** The process of a Pod. */
export interface RenderedRun extends AsyncDisposable {
  readonly process: ChildProcess;
  output(): string;
  /** The exit code; null if a signal ended the process. */
  readonly exited: Promise<number | null>;
  /** Sends SIGTERM. Resolves to the exit code. */
  stop(): Promise<number | null>;
}

/**
 * Starts the container of the workload's Pod: its command and arguments with this repository's program instead of the
 * image's, only its environment, its ConfigMaps as files, and a token of its ServiceAccount.
 */
export async function runRendered(cluster: ClusterAccess, workload: RenderedWorkload): Promise<RenderedRun> {
  const { name, namespace } = workload.metadata;
  const pod = workload.spec.template.spec;
  const [container] = pod.containers;
  if (container === undefined) throw new Error(`${name} has no container`);
  if (pod.automountServiceAccountToken !== true) throw new Error(`${name} mounts no token`);
  const [program, script, ...rest] = [...(container.command ?? []), ...(container.args ?? [])];
  if (program !== 'node' || script !== MAIN_IN_IMAGE) {
    throw new Error(`${name} does not run node ${MAIN_IN_IMAGE} but ${program} ${script}`);
  }
  const account = pod.serviceAccountName;
  const token = await cluster.kubectl(['-n', namespace, 'create', 'token', account, '--duration=1h']);
  const kubeconfig = await cluster.kubeconfigFor({ name: account, token: token.trim(), namespace });

  const root = await mkdtemp(join(cluster.dir, `${name}-`));
  const mounts: { readonly path: string; readonly folder: string }[] = [];
  for (const { name: volumeName, mountPath } of container.volumeMounts ?? []) {
    const configMap = pod.volumes?.find((volume) => volume.name === volumeName)?.configMap;
    if (configMap === undefined) throw new Error(`volume ${volumeName} is no ConfigMap`);
    const path = `/api/v1/namespaces/${namespace}/configmaps/${configMap.name}`;
    const { status, body } = await cluster.request('GET', path);
    if (status !== 200) throw new Error(`GET ${path}: ${status}`);
    const folder = join(root, mountPath);
    await mkdir(folder, { recursive: true });
    const { data } = body as { readonly data?: Readonly<Record<string, string>> };
    for (const [file, content] of Object.entries(data ?? {})) await writeFile(join(folder, file), content);
    mounts.push({ path: mountPath, folder });
  }
  const args = rest.map((argument) => {
    const mount = mounts.find(({ path }) => argument.startsWith(`${path}/`));
    return mount === undefined ? argument : join(mount.folder, argument.slice(mount.path.length));
  });
  const env: Record<string, string | undefined> = { PATH: process.env['PATH'], KUBECONFIG: kubeconfig };
  for (const variable of container.env ?? []) env[variable.name] = environmentValue(variable, { namespace });

  const child = spawn(process.execPath, ['--import', LEASH, MAIN, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: root,
    env,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      output += chunk;
    });
  }
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    return await exited;
  };
  return {
    process: child,
    output: () => output,
    exited,
    stop: () => end('SIGTERM'),
    async [Symbol.asyncDispose]() {
      await end('SIGKILL');
    },
  };
}

function environmentValue(variable: EnvironmentVariable, pod: { readonly namespace: string }): string {
  if (variable.value !== undefined) return variable.value;
  const field = variable.valueFrom?.fieldRef?.fieldPath;
  if (field === 'metadata.namespace') return pod.namespace;
  throw new Error(`${variable.name} comes from ${field ?? 'somewhere that is not a field of the Pod'}`);
}
