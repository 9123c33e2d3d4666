import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensureHelm } from '../support/chart/helm-binary.ts';
import { ensureBinaries } from '../support/control-plane/binaries.ts';
import type { ClusterAccess } from '../support/control-plane/cluster-access.ts';
import { ComponentStartError, createComponent } from '../support/control-plane/component.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { mintToken } from '../support/control-plane/mint-token.ts';
import { eventually } from '../support/eventually.ts';
import { requireTool } from '../support/external-tool.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';

const HOUR_S = 3600;

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'control-plane-test-'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(scratch, { recursive: true, force: true });
});

describe('the shared control plane', () => {
  it('answers 401 to a bad token and 403 to a ServiceAccount until a Role is bound to it', async () => {
    const cluster = await sharedControlPlane();
    const namespace = await cluster.newNamespace('rbac', { awaitServiceAccount: true });
    const token = (await cluster.kubectl(['create', 'token', 'default', '-n', namespace])).trim();
    const secrets = `/api/v1/namespaces/${namespace}/secrets`;
    expect((await cluster.request('GET', secrets, undefined, { token: 'nonsense' })).status).toBe(401);
    expect(await cluster.request('GET', secrets, undefined, { token })).toMatchObject({
      status: 403,
      body: { reason: 'Forbidden' },
    });

    await cluster.kubectl(['create', 'role', 'reader', '--verb=list', '--resource=secrets', '-n', namespace]);
    const subject = `--serviceaccount=${namespace}:default`;
    await cluster.kubectl(['create', 'rolebinding', 'reader', '--role=reader', subject, '-n', namespace]);
    await eventually(async () => {
      expect((await cluster.request('GET', secrets, undefined, { token })).status).toBe(200);
    });
    expect((await cluster.request('DELETE', secrets, undefined, { token })).status).toBe(403);
  });

  it('accepts tokens signed with its ServiceAccount key until they expire', async () => {
    const cluster = await sharedControlPlane();
    const namespace = await cluster.newNamespace('jwt', { awaitServiceAccount: true });
    const now = Math.floor(Date.now() / 1000);
    const review = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
    const statusAt = async (expiryS: number) => {
      const token = await mintToken(cluster, `${namespace}/default`, expiryS);
      const answer = await cluster.request('POST', review, { metadata: {} }, { token });
      return answer.status;
    };
    expect(await statusAt(now + HOUR_S)).toBe(201);
    expect(await statusAt(now - HOUR_S)).toBe(401);
  });

  it('mirrors hand-made Endpoints into an EndpointSlice', async () => {
    const cluster = await sharedControlPlane();
    const namespace = await cluster.newNamespace('mirror');
    await expectMirroring(cluster, namespace);
  });

  it('passes input, user and error message to kubectl, and no kubeconfig of the current user', async () => {
    vi.stubEnv('KUBECONFIG', join(scratch, 'absent'));
    vi.stubEnv('HOME', scratch);
    const cluster = await sharedControlPlane();
    const namespace = await cluster.newNamespace('kubectl', { awaitServiceAccount: true });
    const manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'made', namespace } };
    const applied = await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(manifest) });
    expect(applied.trim()).toBe('configmap/made created');

    const token = (await cluster.kubectl(['create', 'token', 'default', '-n', namespace])).trim();
    const kubeconfig = await cluster.kubeconfigFor({ name: `system:${namespace}/x`, token, namespace });
    expect((await stat(kubeconfig)).mode & 0o777).toBe(0o600);
    expect(dirname(kubeconfig)).toBe(cluster.dir);
    const user = await cluster.kubectl(['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'], {
      kubeconfig,
    });
    expect(user).toBe(`system:serviceaccount:${namespace}:default`);
    await expect(cluster.kubectl(['get', 'configmaps'], { kubeconfig })).rejects.toThrow(
      `cannot list resource "configmaps" in API group "" in the namespace "${namespace}"`,
    );
    expect(await readdir(scratch)).toEqual([]);
  });

  it('is accepted by helm', async ({ skip }) => {
    await requireTool(skip, ensureHelm);
    const { kubeconfig } = await sharedControlPlane();
    const env = { HOME: scratch, KUBECONFIG: kubeconfig };
    const { stdout } = await promisify(execFile)(await ensureHelm(), ['list', '-A', '-o', 'json'], { env });
    expect(JSON.parse(stdout)).toEqual([]);
  });

  it('accepts a merge patch, and returns JSON and text', async () => {
    const cluster = await sharedControlPlane();
    const namespace = await cluster.newNamespace('patch');
    const patch = { metadata: { labels: { patched: 'yes' } } };
    expect(await cluster.request('PATCH', `/api/v1/namespaces/${namespace}`, patch)).toMatchObject({
      status: 200,
      body: patch,
    });
    expect(await cluster.request('GET', '/readyz')).toEqual({ status: 200, body: 'ok' });
  });
});

describe('separate control planes', () => {
  let first: ControlPlane;
  let second: ControlPlane;

  beforeAll(async () => {
    [first, second] = await Promise.all([
      startControlPlane(),
      startControlPlane({ audit: true, controllers: ['deployment-controller'] }),
    ]);
  });

  afterAll(async () => {
    await Promise.all([first?.close(), second?.close()]);
  });

  it('are independent of each other', async () => {
    expect(first.server).not.toBe(second.server);
    const namespace = await first.newNamespace('only-in-first');
    expect((await first.request('GET', `/api/v1/namespaces/${namespace}`)).status).toBe(200);
    expect((await second.request('GET', `/api/v1/namespaces/${namespace}`)).status).toBe(404);
    const foreign = { token: first.adminToken };
    expect((await second.request('GET', '/api/v1/namespaces', undefined, foreign)).status).toBe(401);
  });

  it('keep their data when each component is killed and restarted', async () => {
    const namespace = await first.newNamespace('survivor');
    const path = `/api/v1/namespaces/${namespace}`;
    const before = await first.request('GET', path);
    for (const component of [first.etcd, first.apiserver, first.controllerManager]) {
      const { pid } = component;
      await component.kill();
      expect([component.name, component.running, component.pid]).toEqual([component.name, false, undefined]);
      if (component === first.apiserver)
        await expect(first.request('GET', path)).rejects.toThrow(`GET ${path}`);
      await component.start();
      expect([component.name, component.running, component.pid === pid]).toEqual([
        component.name,
        true,
        false,
      ]);
      await expect(component.start()).rejects.toThrow(`${component.name} is already running`);
    }
    await eventually(async () => {
      expect((await first.request('GET', path)).body).toEqual(before.body);
    });
    await expectMirroring(first, namespace);
    await first.newNamespace('after', { awaitServiceAccount: true });
  });

  it('stop a component that does not react to SIGTERM', async () => {
    const { controllerManager } = second;
    await controllerManager.stop();
    expect(controllerManager.running).toBe(false);
    await controllerManager.stop();
    expect(() => controllerManager.signal('SIGSTOP')).toThrow('is not running');
    await controllerManager.start();
    controllerManager.signal('SIGSTOP');
    await controllerManager.stop();
    expect(controllerManager.running).toBe(false);
    await controllerManager.start();
  });

  it('write an audit log with the option audit', async () => {
    const namespace = await second.newNamespace('audited');
    expect(first.auditLog).toBeUndefined();
    const { auditLog } = second;
    if (auditLog === undefined) throw new Error('there is no audit log');
    await eventually(async () => {
      const entries = (await readFile(auditLog, 'utf8'))
        .split('\n')
        .filter((line) => line.includes(namespace));
      const made = entries
        .map((line) => JSON.parse(line))
        .filter((entry) => entry.verb === 'create' && entry.objectRef.resource === 'namespaces');
      expect(made).toMatchObject([
        { user: { username: 'admin' }, annotations: { 'authorization.k8s.io/decision': 'allow' } },
      ]);
    });
  });

  it('run additional controllers with the option controllers', async () => {
    const deployment = {
      metadata: { name: 'web' },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'web', image: 'web' }] },
        },
      },
    };
    const replicaSets = async (controlPlane: ControlPlane) => {
      const namespace = await controlPlane.newNamespace('controllers');
      const apps = `/apis/apps/v1/namespaces/${namespace}`;
      expect((await controlPlane.request('POST', `${apps}/deployments`, deployment)).status).toBe(201);
      return () => controlPlane.kubectl(['get', 'replicasets', '-n', namespace, '-o', 'name']);
    };
    const [without, withController] = [await replicaSets(first), await replicaSets(second)];
    await eventually(async () => expect(await withController()).toContain('replicaset.apps/web-'));
    expect(await without()).toBe('');
  });
});

describe('a control plane that cannot start', () => {
  it('shows the end of the log, and leaves no process or file', async () => {
    vi.stubEnv('TMPDIR', scratch);
    const failure = await startControlPlane({ apiserverArgs: ['--no-such-flag'] }).catch(
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(ComponentStartError);
    expect(String(failure)).toContain('kube-apiserver did not start: it exited with exit code 1');
    expect(String(failure)).toContain('unknown flag: --no-such-flag');
    expect(await readdir(scratch)).toEqual([]);
    expect(processesNaming(scratch)).toEqual([]);
  });

  it('detects a port in use', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    try {
      const address = holder.address();
      if (address === null || typeof address === 'string') throw new Error('no port');
      const url = `http://127.0.0.1:${address.port}`;
      const etcd = createComponent({
        name: 'etcd',
        command: (await sharedControlPlane()).binaries.etcd,
        args: [
          `--data-dir=${join(scratch, 'data')}`,
          `--listen-client-urls=${url}`,
          `--advertise-client-urls=${url}`,
          '--listen-peer-urls=http://127.0.0.1:0',
        ],
        dir: scratch,
        started: () => undefined,
        createProbe: () => async () => !etcd.running,
      });
      await expect(etcd.start()).rejects.toMatchObject({ name: 'ComponentStartError', portTaken: true });
      expect(etcd.running).toBe(false);
    } finally {
      holder.close();
    }
  });
});

describe('a control plane whose parent process exits', () => {
  const ready = 'controlPlane.apiserver.running';
  it.each([
    ['SIGKILL', 'SIGKILL', 'await new Promise(() => {})'],
    ['Ctrl-C', 'SIGINT', 'await new Promise(() => {})'],
    [
      'an uncaught error',
      undefined,
      "setImmediate(() => { throw new Error('thrown by the test on purpose'); })",
    ],
    ['process.exit', undefined, 'process.exit(3)'],
  ] as const)('goes away after %s', async (_, signal, ending) => {
    const starter = startNode(
      `const controlPlane = await startControlPlane();
      console.log(${ready});
      process.stdin.once('data', async () => { ${ending} });`,
    );
    expect(await firstLine(starter)).toBe('true');
    // Three components and the watchdog.
    expect(processesNaming(scratch)).toHaveLength(4);
    expect(await readdir(scratch)).toHaveLength(1);
    if (signal === undefined) starter.stdin?.write('now\n');
    else starter.kill(signal);
    await once(starter, 'exit');
    await expectNothingLeft();
  });

  it('stops if the parent is killed during startup', async () => {
    const starter = startNode('await startControlPlane();');
    await eventually(() => {
      expect(processesNaming(scratch).filter((line) => line.includes('--etcd-servers'))).toHaveLength(1);
    });
    starter.kill('SIGKILL');
    await once(starter, 'exit');
    await expectNothingLeft();
  });

  function startNode(script: string): ChildProcess {
    const module = new URL('../support/control-plane/control-plane.ts', import.meta.url).href;
    const source = `import { startControlPlane } from ${JSON.stringify(module)};\n${script}`;
    return spawn(process.execPath, ['--input-type=module', '--eval', source], {
      env: { ...process.env, TMPDIR: scratch },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  async function expectNothingLeft(): Promise<void> {
    await eventually(async () => {
      expect(processesNaming(scratch)).toEqual([]);
      expect(await readdir(scratch)).toEqual([]);
    });
  }
});

describe('ensureBinaries', () => {
  it('uses existing binaries without Go and without a download', async () => {
    const lines: string[] = [];
    const { PATH: _, ...ambient } = process.env;
    const binaries = await ensureBinaries({
      env: { ...ambient, PATH: scratch },
      report: (line) => lines.push(line),
    });
    expect(binaries).toEqual((await sharedControlPlane()).binaries);
    expect(lines).toEqual([]);
  });
});

async function expectMirroring(cluster: ClusterAccess, namespace: string): Promise<void> {
  const core = `/api/v1/namespaces/${namespace}`;
  const service = { metadata: { name: 'manual' }, spec: { ports: [{ name: 'http', port: 80 }] } };
  const endpoints = {
    metadata: { name: 'manual' },
    subsets: [{ addresses: [{ ip: '192.0.2.7' }], ports: [{ name: 'http', port: 8080 }] }],
  };
  expect((await cluster.request('POST', `${core}/services`, service)).status).toBe(201);
  expect((await cluster.request('POST', `${core}/endpoints`, endpoints)).status).toBe(201);
  const slices = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
  await eventually(async () => {
    expect((await cluster.request('GET', slices)).body).toMatchObject({
      items: [{ endpoints: [{ addresses: ['192.0.2.7'] }], ports: [{ name: 'http', port: 8080 }] }],
    });
  });
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('its output is not piped');
  for await (const line of createInterface(child.stdout)) return line;
  throw new Error('it ended without a line');
}

/** The command lines that contain this text. Zombie processes have no command line. */
function processesNaming(text: string): readonly string[] {
  if (process.platform !== 'linux') {
    const list = execFileSync('ps', ['-axww', '-o', 'stat=,command='], { encoding: 'utf8' });
    return list.split('\n').filter((line) => line.includes(text) && !line.startsWith('Z'));
  }
  const commandLines: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      commandLines.push(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    } catch {
      // The process exited after the folder was read.
    }
  }
  return commandLines.filter((line) => line.includes(text));
}
