import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { CHART_DIR, createHelm, type Helm } from '../support/chart/helm.ts';
import { ensureHelm } from '../support/chart/helm-binary.ts';
import { ToolMissingError } from '../support/control-plane/tool-cache.ts';
import { eventually } from '../support/eventually.ts';
import { requireTool } from '../support/external-tool.ts';
import { HOST_ADDRESS } from '../support/real-node/addresses.ts';
import { NODE_FOLDER_VARIABLE } from '../support/real-node/clean-up.ts';
import { PAUSE_IMAGE } from '../support/real-node/node-files.ts';
import { type RealCluster, startRealCluster } from '../support/real-node/real-cluster.ts';
import { createWorkload, type Workload } from '../support/workload.ts';
import { BACKEND_IMAGE, FILES, OPERATOR_IMAGE, REGISTRY } from './images.ts';
import { IMAGES_VARIABLE, MISSING_VARIABLE } from './variables.ts';

export const NAMESPACE = 'gateway-upstream-system';
export const RELEASE = 'gateway-upstream-operator';
/** The Service and Deployment behind the gateway, and the GatewayUpstream of docs/install.md. */
export const BACKEND = 'cms';
export const UPSTREAM_ID = `default.${BACKEND}`;

const ADMIN_PORT = 9180;
const ROLLED_OUT_WITHIN_MS = 180_000;

/** A real cluster, a gateway that its Pods reach, and the packaged chart. */
export interface Scene {
  readonly cluster: RealCluster;
  readonly gateway: StandIn;
  readonly helm: Helm;
  /** Of namespace `default`, where the backend is. */
  readonly work: Workload;
  /** Where a user of the docs is: it holds `charts/gateway-upstream-operator`, unpacked from the package. */
  readonly folder: string;
  /** Runs commands of the docs, as a cluster admin. */
  shell(commands: string): Promise<string>;
  readonly images: string;
  /** SIGKILL for the first process of a Pod's only container. */
  killContainer(namespace: string, pod: string): Promise<void>;
}

let started: Promise<Scene> | undefined;

/** The scene that all files of the run share. Skips the test, with the reason, where a node cannot be started. */
export async function requireScene(skip: (reason: string) => void): Promise<Scene> {
  await requireTool(skip, async () => {
    const missing = process.env[MISSING_VARIABLE];
    if (missing !== undefined) throw new ToolMissingError(missing);
    if (process.env[IMAGES_VARIABLE] === undefined)
      throw new ToolMissingError('npm run e2e makes the namespaces and images that this suite needs');
  });
  started ??= startScene();
  return await started;
}

async function startScene(): Promise<Scene> {
  const { [NODE_FOLDER_VARIABLE]: nodeFolder = '', [IMAGES_VARIABLE]: images = '' } = process.env;
  const cluster = await startRealCluster(nodeFolder, say);
  await cluster.importImage(join(images, FILES.pause), PAUSE_IMAGE);
  await cluster.importImage(join(images, FILES.backend), BACKEND_IMAGE);
  await cluster.importImage(join(images, FILES.operator), `${OPERATOR_IMAGE}:${manifest.version}`);
  const gateway = await startStandIn({ host: HOST_ADDRESS, port: ADMIN_PORT });
  gateway.put('routes', 'all', { uri: '/*', upstream_id: UPSTREAM_ID });
  const work = createWorkload(cluster, 'default');
  await makeAdminService(cluster);
  await deployBackend(cluster, 3);
  const helm = createHelm(cluster);
  const folder = join(nodeFolder, 'user');
  await unpackChart(helm, folder);
  const tools = [dirname(await ensureHelm()), dirname(cluster.binaries.kubectl)];
  return {
    cluster,
    gateway,
    helm,
    work,
    folder,
    images,
    killContainer: (namespace, pod) => killContainer(cluster, namespace, pod),
    async shell(commands) {
      const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', commands], {
        cwd: folder,
        env: {
          HOME: nodeFolder,
          PATH: [...tools, '/usr/bin', '/bin'].join(delimiter),
          KUBECONFIG: cluster.kubeconfig,
          ADMIN_KEY: gateway.adminKey,
          REGISTRY,
        },
      });
      return stdout;
    },
  };
}

export function say(line: string): void {
  process.stderr.write(`e2e: ${line}\n`);
}

/** What `helm package` packs, where the commands of the docs expect the chart. */
async function unpackChart(helm: Helm, folder: string): Promise<void> {
  await mkdir(join(folder, 'charts'), { recursive: true });
  const said = await helm(['package', CHART_DIR, '--destination', folder]);
  const archive = said.trim().split(': ').at(-1) ?? '';
  await promisify(execFile)('tar', ['-xzf', archive, '-C', join(folder, 'charts')]);
}

/** docs/install.md reaches the Admin API as `apisix-admin.apisix:9180`. The gateway runs beside the node, so its endpoint is made here. */
async function makeAdminService({ request }: RealCluster): Promise<void> {
  const made = [
    await request('POST', '/api/v1/namespaces', { metadata: { name: 'apisix' } }),
    await request('POST', '/api/v1/namespaces/apisix/services', {
      metadata: { name: 'apisix-admin' },
      spec: { ports: [{ name: 'admin', port: ADMIN_PORT }] },
    }),
    await request('POST', '/apis/discovery.k8s.io/v1/namespaces/apisix/endpointslices', {
      metadata: { name: 'apisix-admin', labels: { 'kubernetes.io/service-name': 'apisix-admin' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [HOST_ADDRESS] }],
      ports: [{ name: 'admin', port: ADMIN_PORT }],
    }),
  ];
  expect(made.map(({ status }) => status)).toEqual([201, 201, 201]);
}

/** `preStop` as docs/zero-downtime.md has it; `version` makes a new rollout. */
export async function deployBackend(
  cluster: RealCluster,
  replicas: number,
  { preStop = true, version = '1' }: { readonly preStop?: boolean; readonly version?: string } = {},
): Promise<void> {
  const labels = { app: BACKEND };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: BACKEND, namespace: 'default' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 2 } },
      template: {
        metadata: { labels, annotations: { version } },
        spec: {
          terminationGracePeriodSeconds: 30,
          securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [
            {
              name: BACKEND,
              image: BACKEND_IMAGE,
              ports: [{ name: 'http', containerPort: 8080 }],
              readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1 },
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
              ...(preStop ? { lifecycle: { preStop: { sleep: { seconds: 5 } } } } : {}),
            },
          ],
        },
      },
    },
  };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: BACKEND, namespace: 'default' },
    spec: { selector: labels, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  };
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [service, deployment] });
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input });
}

export async function rolledOut(cluster: RealCluster, namespace: string, deployment: string): Promise<void> {
  await cluster.kubectl([
    '-n',
    namespace,
    'rollout',
    'status',
    `deployment/${deployment}`,
    `--timeout=${ROLLED_OUT_WITHIN_MS / 1000}s`,
  ]);
}

export interface Pod {
  readonly name: string;
  readonly ip: string;
  readonly ready: boolean;
  readonly terminating: boolean;
}

interface PodObject {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  readonly status: {
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export async function podsOf(
  cluster: RealCluster,
  namespace: string,
  selector: string,
): Promise<readonly Pod[]> {
  const text = await cluster.kubectl(['-n', namespace, 'get', 'pods', '-l', selector, '-o', 'json']);
  return (JSON.parse(text) as { items: readonly PodObject[] }).items.map(({ metadata, status }) => ({
    name: metadata.name,
    ip: status.podIP ?? '',
    ready: status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false,
    terminating: metadata.deletionTimestamp !== undefined,
  }));
}

/** Hosts of the nodes that the gateway has. */
export function gatewayHosts({ gateway }: Scene): readonly string[] {
  const nodes = gateway.get('upstreams', UPSTREAM_ID)?.['nodes'] as
    | readonly { readonly host: string }[]
    | undefined;
  return (nodes ?? []).map(({ host }) => host).sort();
}

/** Resolves when the gateway has the Pods that run, all of them ready and `count` in number, and no others. */
export async function gatewayHasPods(scene: Scene, count: number): Promise<void> {
  await eventually(
    async () => {
      const pods = await podsOf(scene.cluster, 'default', `app=${BACKEND}`);
      const running = pods.filter(({ terminating }) => !terminating);
      expect(running.filter(({ ready }) => ready)).toHaveLength(count);
      expect(running).toHaveLength(count);
      expect(gatewayHosts(scene)).toEqual(running.map(({ ip }) => ip).sort());
    },
    { timeoutMs: 120_000, intervalMs: 200 },
  );
}

/** The name of the operator Pod that leads, by the Lease. */
export async function leader({ cluster }: Scene): Promise<string> {
  const holder = await cluster.kubectl([
    '-n',
    NAMESPACE,
    'get',
    'lease',
    RELEASE,
    '-o',
    'jsonpath={.spec.holderIdentity}',
  ]);
  // The identity is the Pod's name and eight hexadecimal digits.
  return holder.trim().replace(/-[0-9a-f]{8}$/, '');
}

interface Status {
  readonly status: { readonly containerStatuses: readonly { readonly containerID: string }[] };
}

async function killContainer(cluster: RealCluster, namespace: string, pod: string): Promise<void> {
  const { body } = await cluster.request('GET', `/api/v1/namespaces/${namespace}/pods/${pod}`);
  const id = (body as Status).status.containerStatuses[0]?.containerID.replace('containerd://', '');
  await cluster.ctr('tasks', 'kill', '--signal', 'SIGKILL', id ?? '');
}

/** Installs the chart with these values, unless it is installed, and waits until the upstream is in the gateway. */
export async function installed(
  scene: Scene,
  values: object = {},
  chart = join(scene.folder, 'charts/gateway-upstream-operator'),
): Promise<void> {
  const { cluster, gateway, helm, work } = scene;
  const releases = JSON.parse(await helm(['list', '-n', NAMESPACE, '-o', 'json'])) as readonly unknown[];
  if (releases.length === 0) {
    const adminKey = { value: gateway.adminKey };
    await helm(['install', RELEASE, chart, '-n', NAMESPACE, '--create-namespace'], {
      values: {
        image: { repository: OPERATOR_IMAGE },
        defaultConnection: {
          enabled: true,
          apisix: { adminUrl: `http://apisix-admin.apisix:${ADMIN_PORT}`, adminKey },
        },
        ...values,
      },
    });
  }
  await rolledOut(cluster, NAMESPACE, RELEASE);
  if ((await work.get(work.upstreamPath(BACKEND))) === undefined)
    await work.upstream(BACKEND, { backends: [{ serviceRef: { name: BACKEND, port: 'http' } }] });
  await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=120s', `gatewayupstream/${BACKEND}`]);
}

export async function uninstalled(scene: Scene): Promise<void> {
  await scene.helm(['uninstall', RELEASE, '-n', NAMESPACE]);
  await scene.cluster.kubectl(['delete', 'namespace', NAMESPACE, '--timeout=120s']);
}
