import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { OPERATOR } from '../../src/api/group.ts';
import { builtInCatalog, type Catalog } from '../../src/catalog.ts';
import { type RbacOptions, rbacObjects } from '../../src/kube/rbac.ts';
import type { ClusterAccess } from './control-plane/cluster-access.ts';
import { eventually } from './eventually.ts';

const LEASH = new URL('leash.mjs', import.meta.url).href;
const INSTRUMENT = new URL('instrument.ts', import.meta.url).href;
const FAST_CLOCK = new URL('fast-clock.ts', import.meta.url).href;

import { MAIN } from './main.ts';

export interface OperatorOptions {
  /** The name of the operator, to distinguish several in one namespace. Enables instrumentation, see `instrument.ts`. */
  readonly name?: string;
  /** The speed factor of its clocks and timers, see `fast-clock.ts`. Lease and timeouts are longer by this factor. */
  readonly clockRate?: number;
  readonly clusterId?: string;
  readonly namespaces?: readonly string[];
  readonly secretNamespaces?: readonly string[];
  readonly resyncInterval?: string;
  readonly requestTimeout?: string;
  readonly logLevel?: string;
  readonly permissionCheckInterval?: string;
  /** The program, with arguments for node. Default: the sources. */
  readonly program?: { readonly main: string; readonly nodeArgs: readonly string[] };
  /** Whether /debug/state is enabled. */
  readonly debugState?: boolean;
  readonly watchNodes?: boolean;
  readonly readEndpoints?: boolean;
  readonly watchRegistries?: boolean;
  /** The path of a kubeconfig to use instead of the token. */
  readonly kubeconfig?: string;
  readonly leaderElection?: {
    readonly enabled?: boolean;
    readonly leaseDuration?: string;
    readonly renewDeadline?: string;
    readonly retryPeriod?: string;
  };
}

/** An operator process with only the permissions of its ServiceAccount. */
export interface Operator extends AsyncDisposable {
  readonly namespace: string;
  readonly process: ChildProcess;
  /** The output so far. */
  output(): string;
  /** `http://127.0.0.1:PORT` of its probes and metrics; throws while it does not listen. */
  opsUrl(): string;
  /** Resolves when `/readyz` returns 200. */
  ready(): Promise<void>;
  /** Sends a GET to the port of the probes. */
  ask(path: string): Promise<{ readonly status: number; readonly text: string }>;
  /** The status and the lines of `/readyz`. */
  readyz(): Promise<{ readonly status: number; readonly text: string }>;
  /** Sends SIGTERM. Resolves to the exit code. */
  stop(): Promise<number | null>;
  /** Sends SIGKILL. */
  kill(): Promise<void>;
}

/** Applies the CRDs and waits until the API server serves them. */
export async function installCrds(
  cluster: ClusterAccess,
  { customResources }: Pick<Catalog, 'customResources'> = builtInCatalog,
): Promise<void> {
  const input = customResources
    .map((resource) => stringify(customResourceDefinition(resource)))
    .join('---\n');
  await cluster.kubectl(['apply', '--server-side', '-f', '-'], { input });
  await cluster.kubectl([
    'wait',
    '--for=condition=Established',
    '--timeout=60s',
    ...customResources.map(({ plural }) => `crd/${plural}.gatewayupstream.dev`),
  ]);
}

/** Creates ServiceAccount and RBAC of an operator in `namespace`. Resolves to a token of the ServiceAccount. */
export async function installRbac(
  cluster: ClusterAccess,
  namespace: string,
  namespaces: readonly string[] = [],
  {
    secretNamespaces = [],
    ...switches
  }: Pick<RbacOptions, 'secretNamespaces' | 'watchNodes' | 'readEndpoints' | 'watchRegistries'> = {},
  { followedKinds }: Pick<Catalog, 'followedKinds'> = builtInCatalog,
): Promise<string> {
  const input = rbacObjects(followedKinds, { namespace, namespaces, secretNamespaces, ...switches })
    .map((object) => stringify(object, { aliasDuplicateObjects: false }))
    .join('---\n');
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input });
  const token = await cluster.kubectl(['-n', namespace, 'create', 'token', OPERATOR, '--duration=24h']);
  return token.trim();
}

/** The defaults of durations that other processes depend on, scaled by the clock rate. */
function inRealTime(clockRate: number): object {
  const seconds = (count: number) => `${count * clockRate}s`;
  return {
    requestTimeout: seconds(5),
    leaderElection: { leaseDuration: seconds(15), renewDeadline: seconds(8), retryPeriod: seconds(2) },
  };
}

/** Starts an operator in `namespace`. CRDs and RBAC must exist. */
export async function startOperator(
  cluster: ClusterAccess,
  namespace: string,
  token: string,
  {
    name,
    clockRate,
    program = { main: MAIN, nodeArgs: [] },
    debugState = false,
    ...options
  }: OperatorOptions = {},
): Promise<Operator> {
  const files = name === undefined ? `operator-${namespace}` : `operator-${namespace}-${name}`;
  const kubeconfig = options.kubeconfig ?? (await cluster.kubeconfigFor({ name: files, token, namespace }));
  const config = join(cluster.dir, `${files}.yaml`);
  await writeFile(
    config,
    stringify({
      operatorNamespace: namespace,
      ops: { host: '127.0.0.1', port: 0, debugState },
      logLevel: 'trace',
      ...(clockRate === undefined ? {} : inRealTime(clockRate)),
      ...options,
      kubeconfig,
    }),
  );
  const preloaded = [
    LEASH,
    ...(name === undefined ? [] : [INSTRUMENT]),
    ...(clockRate === undefined ? [] : [FAST_CLOCK]),
  ].flatMap((module) => ['--import', module]);
  const child = spawn(
    process.execPath,
    [...program.nodeArgs, ...preloaded, program.main, 'run', '--config', config],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        ...(name === undefined ? {} : { OPERATOR_NAME: name }),
        ...(clockRate === undefined ? {} : { CLOCK_RATE: String(clockRate) }),
      },
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      output += chunk;
    });
  }
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const opsUrl = (): string => {
    const port = /"opsPort":(\d+)/.exec(output)?.[1];
    if (port === undefined) throw new Error(`the operator does not listen yet:\n${output}`);
    return `http://127.0.0.1:${port}`;
  };
  const ask = async (path: string) => {
    const response = await fetch(`${opsUrl()}${path}`);
    return { status: response.status, text: await response.text() };
  };
  const readyz = () => ask('/readyz');
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    return await exited;
  };
  return {
    namespace,
    process: child,
    output: () => output,
    opsUrl,
    ask,
    readyz,
    async ready() {
      await eventually(async () => {
        if (child.exitCode !== null)
          throw new Error(`the operator exited with ${child.exitCode}:\n${output}`);
        const { status, text } = await readyz();
        if (status !== 200) throw new Error(`not ready:\n${text}`);
      });
    },
    stop: () => end('SIGTERM'),
    async kill() {
      await end('SIGKILL');
    },
    async [Symbol.asyncDispose]() {
      await end('SIGKILL');
    },
  };
}
