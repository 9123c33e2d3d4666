import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Binaries, ensureBinaries } from '../control-plane/binaries.ts';
import { createCertificateAuthority } from '../control-plane/certificates.ts';
import { type ClusterAccess, createClusterAccess, writeKubeconfig } from '../control-plane/cluster-access.ts';
import { type Component, createComponent } from '../control-plane/component.ts';
import { eventually } from '../eventually.ts';
import { CLUSTER_CIDR, FIRST_SERVICE_ADDRESS, HOST_ADDRESS, SERVICE_CIDR } from './addresses.ts';
import { ensureNodeBinaries, type NodeBinaries } from './binaries.ts';
import { cgroupOf, hierarchies } from './clean-up.ts';
import {
  admissionConfig,
  cniConfig,
  containerdConfig,
  corefile,
  kubeletConfig,
  kubeProxyConfig,
  NODE_NAME,
} from './node-files.ts';

const SERVER = `https://${HOST_ADDRESS}:16443`;
const ETCD = 'http://127.0.0.1:21379';
const ETCD_PEER = 'http://127.0.0.1:21380';

/** A Kubernetes cluster of one node that runs Pods. It is complete, so Deployments, Services and DNS work. */
export interface RealCluster extends ClusterAccess {
  readonly components: Readonly<Record<ComponentName, Component>>;
  /** Runs containerd's client. */
  ctr(...args: string[]): Promise<string>;
  /** Loads an OCI archive, and gives the image in it this name. */
  importImage(archive: string, name: string): Promise<void>;
  /** The cgroup of everything that the node runs. */
  readonly cgroup: string;
}

type ComponentName =
  | 'etcd'
  | 'apiserver'
  | 'controllerManager'
  | 'scheduler'
  | 'containerd'
  | 'coredns'
  | 'kubelet'
  | 'kubeProxy';

/**
 * Starts everything in `folder`. It must run in namespaces of its own, see namespaces.ts: it configures the network, and nothing of
 * it ends but with them.
 */
export async function startRealCluster(folder: string, report: (line: string) => void): Promise<RealCluster> {
  const options = { env: process.env, report };
  const binaries = await ensureBinaries(options);
  const nodeBinaries = await ensureNodeBinaries(options);
  const startedMs = performance.now();
  const access = await writeFiles(folder, binaries);
  await makeCgroup(cgroupOf(folder));
  const components = createComponents(folder, access, nodeBinaries);
  const { etcd, apiserver, controllerManager, scheduler, containerd, coredns, kubelet, kubeProxy } =
    components;
  await etcd.start();
  await apiserver.start();
  await Promise.all([controllerManager.start(), scheduler.start(), containerd.start()]);
  await letApiServerUseKubelet(access);
  await Promise.all([coredns.start(), kubelet.start(), kubeProxy.start()]);
  const ctr = async (...args: string[]) => {
    const socket = ['--address', join(folder, 'containerd.sock'), '-n', 'k8s.io'];
    return (await promisify(execFile)('ctr', [...socket, ...args])).stdout;
  };
  report(`node is ready after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  return {
    ...access,
    components,
    cgroup: cgroupOf(folder),
    ctr,
    async importImage(archive, name) {
      const said = await ctr('images', 'import', '--index-name', name, archive);
      report(`imported ${name}: ${said.trim().split('\n').at(-1)}`);
    },
  };
}

async function writeFiles(folder: string, binaries: Binaries): Promise<ClusterAccess> {
  const file = (name: string) => join(folder, name);
  const write = (name: string, content: string | object) =>
    writeFile(file(name), typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
  const authority = createCertificateAuthority();
  const issue = async (name: string, request: Parameters<typeof authority.issue>[0]) => {
    const { certPem, keyPem } = authority.issue(request);
    await write(`${name}.crt`, certPem);
    await write(`${name}.key`, keyPem);
  };
  const caPem = authority.certPem;
  await write('ca.crt', caPem);
  const names = ['', '.default', '.default.svc', '.default.svc.cluster.local'].map(
    (end) => `kubernetes${end}`,
  );
  const hosts = [HOST_ADDRESS, FIRST_SERVICE_ADDRESS, ...names];
  await issue('apiserver', { commonName: 'kube-apiserver', hosts, usage: 'server' });
  await issue('kubelet', { commonName: NODE_NAME, hosts: [HOST_ADDRESS], usage: 'server' });
  await issue('apiserver-kubelet', { commonName: 'apiserver-kubelet', hosts: [], usage: 'client' });

  const serviceAccountKeyPem = generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
  await write('service-account.key', serviceAccountKeyPem);
  const users = {
    admin: ['admin', 'system:masters'],
    kubelet: [`system:node:${NODE_NAME}`, 'system:nodes'],
    'kube-proxy': ['system:kube-proxy', ''],
    'kube-scheduler': ['system:kube-scheduler', ''],
    'kube-controller-manager': ['system:kube-controller-manager', ''],
  };
  const tokens = new Map<string, string>();
  for (const name of Object.keys(users)) {
    const token = randomBytes(24).toString('base64url');
    tokens.set(name, token);
    await writeKubeconfig(file(`${name}.kubeconfig`), { server: SERVER, caPem, user: { name, token } });
  }
  const rows = Object.entries(users).map(
    ([name, [user, group]]) => `${tokens.get(name)},${user},${name},${group}`,
  );
  await write('tokens.csv', `${rows.join('\n')}\n`);

  await write('admission.json', admissionConfig);
  await write('containerd.toml', containerdConfig(folder));
  await mkdir(file('cni'));
  await write('cni/10-pods.conflist', cniConfig(folder));
  await write('kubelet.json', kubeletConfig(folder));
  await write('kube-proxy.json', kubeProxyConfig(folder));
  await write('Corefile', corefile(folder));
  await write('resolv.conf', `nameserver ${HOST_ADDRESS}\n`);
  return createClusterAccess({
    server: SERVER,
    caPem,
    dir: folder,
    kubeconfig: file('admin.kubeconfig'),
    adminToken: tokens.get('admin') ?? '',
    serviceAccountKeyPem,
    binaries,
  });
}

function createComponents(
  dir: string,
  access: ClusterAccess,
  nodeBinaries: NodeBinaries,
): RealCluster['components'] {
  const { binaries } = access;
  const make = (
    name: string,
    command: string,
    args: readonly string[],
    isReady: () => Promise<boolean>,
  ): Component =>
    // The first process of the namespaces takes all others with it: there is no watchdog to tell.
    createComponent({ name, command, args, dir, started: () => undefined, createProbe: () => isReady });
  const statusOf = async (path: string) => (await access.request('GET', path)).status;
  const isHealthy = (url: string) => async () => (await fetch(url)).ok;
  const kubeconfig = (name: string) => `--kubeconfig=${dir}/${name}.kubeconfig`;
  const delegated = (name: string) => [
    kubeconfig(name),
    `--authentication-kubeconfig=${dir}/${name}.kubeconfig`,
    `--authorization-kubeconfig=${dir}/${name}.kubeconfig`,
    '--leader-elect=false',
    '--bind-address=127.0.0.1',
  ];
  return {
    etcd: make('etcd', binaries.etcd, etcdArgs(dir), isHealthy(`${ETCD}/health`)),
    apiserver: make(
      'kube-apiserver',
      binaries.kubeApiserver,
      apiserverArgs(dir),
      async () => (await statusOf('/readyz')) === 200,
    ),
    controllerManager: make(
      'kube-controller-manager',
      binaries.kubeControllerManager,
      [
        ...delegated('kube-controller-manager'),
        `--service-account-private-key-file=${dir}/service-account.key`,
        `--root-ca-file=${dir}/ca.crt`,
        '--use-service-account-credentials=true',
        `--cluster-cidr=${CLUSTER_CIDR}`,
        `--service-cluster-ip-range=${SERVICE_CIDR}`,
        '--node-monitor-grace-period=20s',
      ],
      async () => (await statusOf('/api/v1/namespaces/default/serviceaccounts/default')) === 200,
    ),
    scheduler: make(
      'kube-scheduler',
      nodeBinaries.kubeScheduler,
      delegated('kube-scheduler'),
      async () => true,
    ),
    containerd: make('containerd', 'containerd', ['--config', `${dir}/containerd.toml`], async () =>
      existsSync(`${dir}/containerd.sock`),
    ),
    coredns: make('coredns', nodeBinaries.coredns, ['-conf', `${dir}/Corefile`, '-quiet'], async () => true),
    kubelet: make(
      'kubelet',
      nodeBinaries.kubelet,
      [
        `--config=${dir}/kubelet.json`,
        kubeconfig('kubelet'),
        `--hostname-override=${NODE_NAME}`,
        `--node-ip=${HOST_ADDRESS}`,
        `--root-dir=${dir}/kubelet`,
        `--cert-dir=${dir}`,
      ],
      async () => isNodeReady(await access.request('GET', `/api/v1/nodes/${NODE_NAME}`)),
    ),
    kubeProxy: make(
      'kube-proxy',
      nodeBinaries.kubeProxy,
      [`--config=${dir}/kube-proxy.json`],
      isHealthy('http://127.0.0.1:10256/healthz'),
    ),
  };
}

const etcdArgs = (dir: string) => [
  `--data-dir=${dir}/etcd`,
  `--name=${NODE_NAME}`,
  `--listen-client-urls=${ETCD}`,
  `--advertise-client-urls=${ETCD}`,
  `--listen-peer-urls=${ETCD_PEER}`,
  `--initial-advertise-peer-urls=${ETCD_PEER}`,
  `--initial-cluster=${NODE_NAME}=${ETCD_PEER}`,
  '--unsafe-no-fsync',
  '--watch-progress-notify-interval=5s',
];

const apiserverArgs = (dir: string) => [
  `--etcd-servers=${ETCD}`,
  `--bind-address=${HOST_ADDRESS}`,
  `--advertise-address=${HOST_ADDRESS}`,
  '--secure-port=16443',
  `--cert-dir=${dir}`,
  `--tls-cert-file=${dir}/apiserver.crt`,
  `--tls-private-key-file=${dir}/apiserver.key`,
  `--client-ca-file=${dir}/ca.crt`,
  `--token-auth-file=${dir}/tokens.csv`,
  `--kubelet-client-certificate=${dir}/apiserver-kubelet.crt`,
  `--kubelet-client-key=${dir}/apiserver-kubelet.key`,
  `--kubelet-certificate-authority=${dir}/ca.crt`,
  '--kubelet-preferred-address-types=InternalIP',
  '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
  `--service-account-key-file=${dir}/service-account.key`,
  `--service-account-signing-key-file=${dir}/service-account.key`,
  '--authorization-mode=Node,RBAC',
  '--enable-admission-plugins=NodeRestriction',
  `--admission-control-config-file=${dir}/admission.json`,
  `--service-cluster-ip-range=${SERVICE_CIDR}`,
  '--profiling=false',
];

function isNodeReady({ body }: { readonly body: unknown }): boolean {
  const { status } = body as { status?: { conditions?: readonly { type: string; status: string }[] } };
  return status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') ?? false;
}

/** `kubectl logs` and `kubectl exec` go through the API server, which is a client of the kubelet by its certificate's name. */
async function letApiServerUseKubelet(access: ClusterAccess): Promise<void> {
  const path = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
  await eventually(async () => {
    const { status } = await access.request('POST', path, {
      metadata: { name: 'apiserver-kubelet' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'system:kubelet-api-admin',
      },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'apiserver-kubelet' }],
    });
    if (status !== 201 && status !== 409) throw new Error(`binding for the kubelet's API: ${status}`);
  });
}

/** kubelet makes its cgroups below this one, in every hierarchy. */
async function makeCgroup(name: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    const path = join(hierarchy, name);
    await mkdir(path, { recursive: true });
    // Version 1: a new group of cpuset has neither processors nor memory.
    for (const setting of ['cpuset.cpus', 'cpuset.mems']) {
      if (!existsSync(join(path, setting))) continue;
      await writeFile(join(path, setting), await readFile(join(hierarchy, setting), 'utf8'));
    }
  }
}
