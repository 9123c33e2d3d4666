import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../eventually.ts';
import { type Binaries, ensureBinaries } from './binaries.ts';
import { createCertificateAuthority } from './certificates.ts';
import { type ClusterAccess, createClusterAccess, writeKubeconfig } from './cluster-access.ts';
import { type Component, ComponentStartError, createComponent } from './component.ts';
import { freePorts } from './free-ports.ts';

export interface ControlPlaneOptions {
  /** Called with progress lines of the first build. Default: writes to standard error. */
  readonly report?: (line: string) => void;
  /** Additional arguments. The last one of a repeated argument applies. */
  readonly apiserverArgs?: readonly string[];
  /** Controllers to run in addition to the default ones, such as `deployment-controller`. */
  readonly controllers?: readonly string[];
  /** Log every request with user, verb, resource and RBAC decision. `ServiceAccounts`: only their requests. */
  readonly audit?: boolean | 'ServiceAccounts';
}

/**
 * A real etcd, API server and controller manager on 127.0.0.1, with RBAC. There is no kubelet and no scheduler.
 * It stops with the process that started it, even after SIGKILL.
 */
export interface ControlPlane extends ClusterAccess, AsyncDisposable {
  readonly etcd: Component;
  readonly apiserver: Component;
  readonly controllerManager: Component;
  /** The path of the audit log with one JSON object per line, if enabled. */
  readonly auditLog: string | undefined;
  /** Kills the components and removes the folder. Can be called repeatedly. */
  close(): Promise<void>;
}

/** Issuer and audience of ServiceAccount tokens. */
export const SERVICE_ACCOUNT_ISSUER = 'https://kubernetes.default.svc.cluster.local';

const START_ATTEMPTS = 5;
const DEFAULTS_WITHIN_MS = 60_000;
const ETCD_PROBE_MS = 2_000;

const CONTROLLERS = [
  'endpoints-controller',
  'endpointslice-controller',
  'endpointslice-mirroring-controller',
  'serviceaccount-controller',
  'serviceaccount-token-controller',
  'root-ca-certificate-publisher-controller',
  'garbage-collector-controller',
  'namespace-controller',
];

const auditPolicy = (audit: NonNullable<ControlPlaneOptions['audit']>) => ({
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules:
    audit === 'ServiceAccounts'
      ? [{ level: 'Metadata', userGroups: ['system:serviceaccounts'] }, { level: 'None' }]
      : [{ level: 'Metadata' }],
});

/**
 * Resolves when the API server is ready and the controller manager creates ServiceAccounts. This takes 4 to 10 s, and
 * minutes for the first time on a machine (see `ensureBinaries`). Several control planes can run at the same time.
 *
 * @throws ComponentStartError with the end of a component's log, after cleaning up.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const report = options.report ?? ((line: string) => process.stderr.write(`${line}\n`));
  const binaries = await ensureBinaries({ env: process.env, report });
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(binaries, options);
    } catch (error) {
      const again = error instanceof ComponentStartError && error.portTaken && attempt < START_ATTEMPTS;
      if (!again) throw error;
    }
  }
}

async function startOnce(binaries: Binaries, options: ControlPlaneOptions): Promise<ControlPlane> {
  const id = `gateway-upstream-control-plane-${randomBytes(6).toString('hex')}`;
  const dir = join(tmpdir(), id);
  // Before the folder, so that the folder is removed in any case.
  const watchdog = startWatchdog(dir);
  const components: Component[] = [];
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      // The API server may take a minute to handle SIGTERM, and its data is not needed.
      await Promise.all(components.map((component) => component.kill()));
      await watchdog.end();
      await rm(dir, { recursive: true, force: true });
    })();
    return closing;
  };
  try {
    await mkdir(dir, { mode: 0o700 });
    const [etcdPort = 0, etcdPeerPort = 0, apiserverPort = 0] = await freePorts(3);
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const etcdPeerUrl = `http://127.0.0.1:${etcdPeerPort}`;
    const server = `https://127.0.0.1:${apiserverPort}`;
    const file = (name: string) => join(dir, name);
    const adminToken = randomBytes(24).toString('base64url');
    const { audit = false } = options;
    const auditLog = audit === false ? undefined : file('audit.log');
    const { caPem, serviceAccountKeyPem } = await writeCredentials(file, adminToken);
    const kubeconfig = file('kubeconfig');
    await writeKubeconfig(kubeconfig, { server, caPem, user: { name: 'admin', token: adminToken } });
    if (auditLog !== undefined)
      await writeFile(file('audit-policy.json'), JSON.stringify(auditPolicy(audit)));

    const access = createClusterAccess({
      server,
      caPem,
      dir,
      kubeconfig,
      adminToken,
      serviceAccountKeyPem,
      binaries,
    });
    const statusOf = async (method: string, path: string) => (await access.request(method, path)).status;
    const component = (
      name: string,
      command: string,
      args: readonly string[],
      createProbe: () => () => Promise<boolean>,
    ): Component => {
      const made = createComponent({ name, command, args, dir, started: watchdog.register, createProbe });
      components.push(made);
      return made;
    };

    const etcd = component(
      'etcd',
      binaries.etcd,
      [
        `--name=${id}`,
        `--data-dir=${file('etcd')}`,
        `--listen-client-urls=${etcdUrl}`,
        `--advertise-client-urls=${etcdUrl}`,
        `--listen-peer-urls=${etcdPeerUrl}`,
        `--initial-advertise-peer-urls=${etcdPeerUrl}`,
        `--initial-cluster=${id}=${etcdPeerUrl}`,
        '--unsafe-no-fsync',
        // The value of kubeadm and GKE. With etcd's default (10m), watches of a kind without changes get no bookmarks.
        '--watch-progress-notify-interval=5s',
      ],
      () => () => isEtcdServing(etcdUrl, id),
    );

    const apiserver = component(
      'kube-apiserver',
      binaries.kubeApiserver,
      [
        `--etcd-servers=${etcdUrl}`,
        '--bind-address=127.0.0.1',
        '--advertise-address=127.0.0.1',
        `--secure-port=${apiserverPort}`,
        `--cert-dir=${dir}`,
        `--tls-cert-file=${file('apiserver.crt')}`,
        `--tls-private-key-file=${file('apiserver.key')}`,
        `--client-ca-file=${file('ca.crt')}`,
        `--token-auth-file=${file('tokens.csv')}`,
        `--service-account-issuer=${SERVICE_ACCOUNT_ISSUER}`,
        `--service-account-key-file=${file('service-account.key')}`,
        `--service-account-signing-key-file=${file('service-account.key')}`,
        '--authorization-mode=RBAC',
        '--service-cluster-ip-range=10.96.0.0/16',
        '--endpoint-reconciler-type=none',
        '--allow-privileged=true',
        '--profiling=false',
        ...(auditLog === undefined
          ? []
          : [`--audit-policy-file=${file('audit-policy.json')}`, `--audit-log-path=${auditLog}`]),
        ...(options.apiserverArgs ?? []),
      ],
      () => async () => (await statusOf('GET', '/readyz')) === 200,
    );

    const controllerManager = component(
      'kube-controller-manager',
      binaries.kubeControllerManager,
      [
        `--kubeconfig=${kubeconfig}`,
        '--leader-elect=false',
        '--secure-port=0',
        `--service-account-private-key-file=${file('service-account.key')}`,
        `--root-ca-file=${file('ca.crt')}`,
        '--kube-api-qps=500',
        '--kube-api-burst=1000',
        `--controllers=${[...CONTROLLERS, ...(options.controllers ?? [])].join(',')}`,
      ],
      () => {
        // Without a port it answers no health check. It works when it makes this ServiceAccount again, which nobody
        // uses.
        const path = '/api/v1/namespaces/kube-node-lease/serviceaccounts/default';
        let wasDeleted = false;
        return async () => {
          if (!wasDeleted) wasDeleted = [200, 404].includes(await statusOf('DELETE', path));
          return wasDeleted && (await statusOf('GET', path)) === 200;
        };
      },
    );

    await etcd.start();
    await apiserver.start();
    await controllerManager.start();
    await eventually(
      async () => {
        const status = await statusOf('GET', '/api/v1/namespaces/default/serviceaccounts/default');
        if (status !== 200) throw new Error(`the default ServiceAccount: ${status}`);
      },
      { timeoutMs: DEFAULTS_WITHIN_MS },
    );
    return { ...access, etcd, apiserver, controllerManager, auditLog, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function writeCredentials(
  file: (name: string) => string,
  adminToken: string,
): Promise<{ readonly caPem: string; readonly serviceAccountKeyPem: string }> {
  const authority = createCertificateAuthority();
  const { certPem, keyPem } = authority.issue({
    commonName: 'kube-apiserver',
    hosts: ['127.0.0.1', 'localhost'],
    usage: 'server',
  });
  const serviceAccountKeyPem = generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
  const contents = {
    'ca.crt': authority.certPem,
    'apiserver.crt': certPem,
    'apiserver.key': keyPem,
    'service-account.key': serviceAccountKeyPem,
    'tokens.csv': `${adminToken},admin,admin,system:masters\n`,
  };
  for (const [name, content] of Object.entries(contents)) {
    await writeFile(file(name), content, { mode: 0o600 });
  }
  return { caPem: authority.certPem, serviceAccountKeyPem };
}

/** Also checks the member's name, because another etcd may use the port. */
async function isEtcdServing(url: string, name: string): Promise<boolean> {
  const answer = await fetch(`${url}/v3/cluster/member/list`, {
    method: 'POST',
    body: '{}',
    signal: AbortSignal.timeout(ETCD_PROBE_MS),
  });
  return answer.ok && (await answer.text()).includes(`"${name}"`);
}

interface Watchdog {
  register(pid: number): void;
  /** Has it clean up now; resolves when it has. */
  end(): Promise<void>;
}

function startWatchdog(dir: string): Watchdog {
  const script = fileURLToPath(new URL('./watchdog.ts', import.meta.url));
  const watchdog = spawn(process.execPath, [script, dir], {
    cwd: tmpdir(),
    // A session of its own: what ends the starter's group or terminal must not end it as well.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: '/usr/bin:/bin' },
  });
  const gone = once(watchdog, 'exit');
  // The pipe breaks when somebody ends the watchdog; close() cleans up without it too.
  watchdog.stdin.on('error', () => undefined);
  return {
    register: (pid) => watchdog.stdin.write(`${pid}\n`),
    async end() {
      watchdog.stdin.end();
      await gone;
    },
  };
}
