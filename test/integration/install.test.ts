import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import {
  GATEWAY_CONNECTION,
  GATEWAY_UPSTREAM,
  GATEWAY_UPSTREAM_SET,
  SERVICE_REGISTRY,
} from '../../src/api/crd.ts';
import { CONNECTION_FINALIZER, GROUP, OPERATOR, UPSTREAM_FINALIZER } from '../../src/api/group.ts';
import { CRDS_ONLY_RULES, type PolicyRule, RELEASE_RULES } from '../../src/kube/rbac.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import {
  conditionOf,
  connectionPath,
  createWorkload,
  GROUP_PATH,
  type Workload,
  writeSecret,
} from '../support/workload.ts';

const NAMESPACE = 'gateway-upstream-system';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const CLUSTER_ROLE = `${RBAC}/clusterroles/${OPERATOR}`;
const CRD = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${GATEWAY_UPSTREAM.plural}.${GROUP}`;
const SLOWLY = { timeoutMs: 60_000, intervalMs: 100 };

/** The objects of an installation, as printed by `install`. */
const OBJECTS = [
  `CustomResourceDefinition/${GATEWAY_CONNECTION.plural}.${GROUP}`,
  `CustomResourceDefinition/${GATEWAY_UPSTREAM.plural}.${GROUP}`,
  `CustomResourceDefinition/${GATEWAY_UPSTREAM_SET.plural}.${GROUP}`,
  `CustomResourceDefinition/${SERVICE_REGISTRY.plural}.${GROUP}`,
  `Namespace/${NAMESPACE}`,
  `ServiceAccount/${NAMESPACE}/${OPERATOR}`,
  `ClusterRole/${OPERATOR}`,
  `ClusterRoleBinding/${OPERATOR}`,
  `Role/${NAMESPACE}/${OPERATOR}`,
  `RoleBinding/${NAMESPACE}/${OPERATOR}`,
];

interface Metadata {
  readonly finalizers?: readonly string[];
  readonly name: string;
  readonly namespace?: string;
}

describe('install and uninstall', () => {
  let cluster: ControlPlane;
  let gateway: StandIn;
  let work: Workload;

  const program = (...args: readonly string[]) =>
    runProgram(args, { cwd: cluster.dir, env: { KUBECONFIG: cluster.kubeconfig } });
  const succeed = async (...args: readonly string[]) => {
    const ended = await program(...args);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    return ended.stdout.trimEnd().split('\n');
  };
  const metadata = async (path: string) => (await work.get(path))?.['metadata'] as Metadata | undefined;
  const heldId = (name: string) => gateway.get('upstreams', `${work.namespace}.${name}`);

  /** Starts an operator with the kubeconfig of `install --out-of-cluster`. */
  const startWith = async (kubeconfig: string, options: object = {}): Promise<Operator> => {
    const operator = await startOperator(cluster, NAMESPACE, 'not used', {
      kubeconfig,
      requestTimeout: '2s',
      permissionCheckInterval: '1s',
      // Without its permissions, the operator cannot release the Lease, and the next one waits until it expires.
      leaderElection: { leaseDuration: '5s', renewDeadline: '2s', retryPeriod: '500ms' },
      ...options,
    });
    await operator.ready();
    return operator;
  };
  const outOfCluster = async (name: string, ...args: readonly string[]) => {
    const file = join(cluster.dir, name);
    const lines = await succeed('install', '--out-of-cluster', '--output', file, ...args);
    return { file, lines };
  };

  const upstream = async (name: string) => {
    await work.service(name);
    await work.endpoints(name, ['10.1.0.1']);
    await work.upstream(name, {
      connectionRef: { name: 'main' },
      backends: [{ serviceRef: { name, port: 'http' } }],
    });
  };
  const ready = (name: string) =>
    eventually(async () => expect((await work.condition(name, 'Ready'))?.reason).toBe('Ready'), SLOWLY);
  const connect = async () => {
    await writeSecret(cluster, NAMESPACE, 'gateway', { 'admin-key': gateway.adminKey });
    await work.connection('main', { adminUrl: gateway.adminUrl, secret: 'gateway' });
  };
  /** The kubeconfig of a user with only these cluster-wide permissions. */
  const kubeconfigWith = async (name: string, rules: readonly PolicyRule[]) => {
    const account = `/api/v1/namespaces/${work.namespace}/serviceaccounts`;
    await work.create(account, { metadata: { name } });
    await work.create(`${RBAC}/clusterroles`, { metadata: { name }, rules });
    await work.create(`${RBAC}/clusterrolebindings`, {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: work.namespace }],
    });
    const token = await cluster.kubectl(['-n', work.namespace, 'create', 'token', name]);
    return await cluster.kubeconfigFor({ name, token: token.trim() });
  };

  beforeAll(async () => {
    cluster = await startControlPlane();
  });

  beforeEach(async () => {
    await gateway?.[Symbol.asyncDispose]();
    gateway = await startStandIn();
    work = createWorkload(cluster, await cluster.newNamespace('apps'));
  });

  // Also after a failure, so that the next test starts with an empty cluster.
  afterEach(async () => {
    await program('uninstall', '--finalizers=orphan', '--timeout', '1s');
  });

  afterAll(async () => {
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.close();
  });

  describe('install', () => {
    it('applies all objects, changes nothing the second time, and repairs a changed object', async () => {
      const first = await succeed('install');
      expect(first.slice(0, -1)).toEqual(OBJECTS.map((name) => `${name} created`));
      expect(first.at(-1)).toContain(`ServiceAccount ${NAMESPACE}/${OPERATOR}`);
      // install waits until every kind is served.
      expect((await cluster.request('GET', `/apis/${GROUP}/v1alpha1/gatewayupstreamsets`)).status).toBe(200);
      expect((await cluster.request('GET', `/apis/${GROUP}/v1alpha1/gatewayupstreams`)).status).toBe(200);
      expect((await cluster.request('GET', `/apis/${GROUP}/v1alpha1/gatewayconnections`)).status).toBe(200);

      expect((await succeed('install')).slice(0, -1)).toEqual(OBJECTS.map((name) => `${name} unchanged`));

      await work.patch(CLUSTER_ROLE, { rules: [] });
      expect((await succeed('install')).slice(0, -1)).toEqual(
        OBJECTS.map((name) => `${name} ${name === `ClusterRole/${OPERATOR}` ? 'configured' : 'unchanged'}`),
      );
    });

    it('prints the same objects without a cluster', async () => {
      const { code, stdout } = await runProgram(['print']);
      expect(code).toBe(0);
      const printed = parseAllDocuments(stdout).map(
        (document) => document.toJS() as { kind: string; metadata: Metadata },
      );
      expect(
        printed.map(({ kind, metadata: { namespace, name } }) =>
          [kind, ...(namespace === undefined ? [] : [namespace]), name].join('/'),
        ),
      ).toEqual(OBJECTS);
      await succeed('install');
      const applied = await cluster.kubectl(
        ['apply', '--server-side', '--field-manager', OPERATOR, '--dry-run=server', '-o', 'name', '-f', '-'],
        { input: stdout },
      );
      expect(applied.trim().split('\n')).toHaveLength(OBJECTS.length);
    });

    it('applies only the CRDs with --crds-only, with permissions for CRDs only', async () => {
      const kubeconfig = await kubeconfigWith(`crds-${work.namespace}`, CRDS_ONLY_RULES);
      for (const what of ['created', 'unchanged']) {
        const lines = await succeed('install', '--crds-only', '--kubeconfig', kubeconfig);
        expect(lines.slice(0, -1)).toEqual(OBJECTS.slice(0, 4).map((name) => `${name} ${what}`));
      }
      expect(await work.get(CLUSTER_ROLE)).toBeUndefined();
    });

    it('creates no watched namespace, and changes nothing if one is missing', async () => {
      for (const flag of ['--namespaces', '--secret-namespaces']) {
        const { code, stderr } = await program('install', flag, `${work.namespace},missing`);
        expect(code).toBe(1);
        expect(stderr).toBe(
          `namespace missing does not exist: correct ${flag}, or run kubectl create namespace; nothing was changed\n`,
        );
      }
      expect(await work.get(CRD)).toBeUndefined();
    });

    it('prints the required configuration', async () => {
      const { lines } = await outOfCluster(
        'switches.kubeconfig',
        ...['--secret-namespaces', work.namespace, '--watch-nodes', '--read-endpoints'],
      );
      expect(lines).toEqual(
        expect.arrayContaining([
          `  secretNamespaces: [${work.namespace}]`,
          '  watchNodes: true',
          '  readEndpoints: true',
        ]),
      );
    });

    it('grants permissions only in the watched namespaces, where they are sufficient', async () => {
      const { file, lines } = await outOfCluster('namespaced.kubeconfig', '--namespaces', work.namespace);
      expect(lines).toContain(`  namespaces: [${work.namespace}]`);
      const { rules } = (await work.get(CLUSTER_ROLE)) as { readonly rules: readonly PolicyRule[] };
      expect(rules.flatMap(({ resources }) => resources)).toEqual([
        'gatewayconnections',
        'gatewayconnections/status',
        'gatewayupstreamsets',
        'gatewayupstreamsets/status',
        'namespaces',
        'serviceregistries',
        'serviceregistries/status',
      ]);
      const { stdout } = await program(
        'check',
        '--kubeconfig',
        file,
        '--config',
        await configFor(work.namespace),
      );
      expect(stdout.split('\n').filter((line) => line.startsWith('FAIL'))).toEqual([]);
      await using operator = await startWith(file, { namespaces: [work.namespace] });
      await connect();
      await upstream('web');
      await ready('web');
      expect(heldId('web')).toBeDefined();
      // Kubernetes accepts Events of cluster-scoped objects in the default namespace.
      await eventually(async () => {
        const { body } = await cluster.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
        expect(JSON.stringify(body)).toContain('"kind":"GatewayConnection","name":"main"');
      });
      const after = await succeed('uninstall', '--finalizers=delete');
      expect(after).toContain(`Role/${work.namespace}/${OPERATOR}-namespace deleted`);
      expect(after).toContain(`RoleBinding/default/${OPERATOR}-events deleted`);
      await operator.stop();
    });

    const configFor = async (namespace: string) => {
      const path = join(cluster.dir, `config-${namespace}.yaml`);
      await writeFile(path, `namespaces: [${namespace}]\noperatorNamespace: ${NAMESPACE}\n`);
      return path;
    };
  });

  describe('a second installation', () => {
    const BINDING = `${RBAC}/clusterrolebindings/${OPERATOR}`;

    it('is rejected with the name of the first one, and changes nothing', async () => {
      const first = await cluster.newNamespace('first');
      await succeed('install', '--namespace', first);
      const before = await work.get(BINDING);
      const second = await cluster.newNamespace('second');
      const { code, stdout, stderr } = await program('install', '--namespace', second);
      expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
      expect(stderr).toMatch(
        new RegExp(
          `^ClusterRoleBinding ${OPERATOR} is used by ServiceAccount ${first}/${OPERATOR}, which would lose its permissions: set --namespace ${first} .* uninstall --namespace ${first} --finalizers=orphan --keep-crds.* Helm chart.*; nothing was changed\n$`,
        ),
      );
      expect(await work.get(BINDING)).toEqual(before);
      expect(await work.get(`/api/v1/namespaces/${second}/serviceaccounts/${OPERATOR}`)).toBeUndefined();
      // --crds-only does not affect the first installation.
      await succeed('install', '--crds-only', '--namespace', second);

      // uninstall in the other namespace is rejected too.
      const refused = await program('uninstall', '--namespace', second, '--finalizers=orphan');
      expect(refused).toMatchObject({
        code: 3,
        stderr: `the operator is installed in namespace ${first}: set --namespace ${first}; nothing was changed\n`,
      });
      expect(await work.get(BINDING)).toEqual(before);
      await succeed('uninstall', '--namespace', first);
      await succeed('install', '--namespace', second);
      await succeed('uninstall', '--namespace', second);
    });

    it('replaces an installation whose ServiceAccount does not exist', async () => {
      const first = await cluster.newNamespace('first');
      await succeed('install', '--namespace', first);
      await work.remove(`/api/v1/namespaces/${first}/serviceaccounts/${OPERATOR}`);
      await succeed('install', '--namespace', NAMESPACE);
      expect(await work.get(BINDING)).toMatchObject({ subjects: [{ namespace: NAMESPACE }] });
    });
  });

  describe('install --out-of-cluster', () => {
    it('writes a kubeconfig for the operator, and a new token that the running operator uses', async () => {
      const { file, lines } = await outOfCluster('operator.kubeconfig');
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect(lines.filter((line) => line.startsWith('  '))).toEqual([
        `  kubeconfig: ${file}`,
        `  operatorNamespace: ${NAMESPACE}`,
      ]);
      // A leader stops if its renewals are rejected. Without leader election, the operator continues.
      await using operator = await startWith(file, { leaderElection: { enabled: false } });
      await connect();
      await upstream('web');
      await ready('web');
      expect(heldId('web')).toBeDefined();

      const before = await readFile(file, 'utf8');
      // Tokens become invalid seconds after their ServiceAccount is deleted.
      await work.remove(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${OPERATOR}`);
      await eventually(async () => {
        const { status, text } = await operator.readyz();
        expect(status).toBe(503);
        expect(text).toContain(
          "[-]permissions failed: the API server rejected the operator's credentials (401)",
        );
      }, SLOWLY);
      const refused = await program('check', '--kubeconfig', file);
      expect(refused.code).toBe(1);
      expect(refused.stdout).toContain('FAIL  credentials: the API server rejected them (401)');
      expect(refused.stdout).not.toContain('permission');

      await outOfCluster('operator.kubeconfig');
      expect(await readFile(file, 'utf8')).not.toBe(before);
      await eventually(async () => expect((await operator.readyz()).status).toBe(200), SLOWLY);
      await work.endpoints('web', ['10.1.0.1', '10.1.0.2']);
      await eventually(() => expect(JSON.stringify(heldId('web'))).toContain('10.1.0.2'), SLOWLY);
      expect(operator.process.exitCode).toBeNull();
      // The rejected token changes no condition, because no permission is known to be missing.
      expect(operator.output()).not.toContain('PermissionMissing');
      await succeed('uninstall', '--finalizers=delete');
      await operator.stop();
    });

    it('creates a token that does not expire, from a Secret that uninstall deletes', async () => {
      const { file } = await outOfCluster('long.kubeconfig', '--long-lived');
      const secret = `/api/v1/namespaces/${NAMESPACE}/secrets/${OPERATOR}-token`;
      const { data } = (await work.get(secret)) as { readonly data: { readonly token: string } };
      const { users } = parse(await readFile(file, 'utf8')) as {
        readonly users: readonly { readonly user: { readonly token: string } }[];
      };
      expect(users.map(({ user }) => user.token)).toEqual([Buffer.from(data.token, 'base64').toString()]);
      const { code, stdout } = await program('check', '--kubeconfig', file);
      expect({ code, fails: stdout.split('\n').filter((line) => line.startsWith('FAIL')) }).toEqual({
        code: 0,
        fails: [],
      });
      await outOfCluster('long.kubeconfig', '--long-lived');
      expect(await succeed('uninstall')).toContain(`Secret/${NAMESPACE}/${OPERATOR}-token deleted`);
    });

    it('replaces its own file, and another file only with --force', async () => {
      const output = join(cluster.dir, 'precious');
      await writeFile(output, 'apiVersion: v1\nkind: Config\n');
      const refused = await program('install', '--out-of-cluster', '--output', output);
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toContain(`${output} exists and was not written by this command`);
      expect(await readFile(output, 'utf8')).toBe('apiVersion: v1\nkind: Config\n');
      // The conflict is detected before any change.
      expect(await work.get(CRD)).toBeUndefined();
      await succeed('install', '--out-of-cluster', '--output', output, '--force');
      await succeed('install', '--out-of-cluster', '--output', output);
      expect((await stat(output)).mode & 0o777).toBe(0o600);
    });

    it('prints no token', async () => {
      const { file, lines } = await outOfCluster('quiet.kubeconfig', '--token-duration', '10m');
      const { users } = parse(await readFile(file, 'utf8')) as {
        readonly users: readonly { readonly user: { readonly token: string } }[];
      };
      const token = users[0]?.user.token ?? '';
      expect(token.length).toBeGreaterThan(100);
      expect(lines.join('\n')).not.toContain(token);
    });
  });

  describe('uninstall', () => {
    /** Creates an upstream with a running operator. */
    const living = async (name: string): Promise<Operator> => {
      const { file } = await outOfCluster('living.kubeconfig');
      const operator = await startWith(file);
      await connect();
      await upstream(name);
      await ready(name);
      expect((await metadata(work.upstreamPath(name)))?.finalizers).toEqual([UPSTREAM_FINALIZER]);
      return operator;
    };

    it('fails while GatewayUpstreams exist, names them, and changes nothing', async () => {
      await using operator = await living('web');
      const { code, stdout, stderr } = await program('uninstall');
      expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
      expect(stderr).toContain(`found 1 GatewayUpstream (${work.namespace}/web): set --finalizers=orphan`);
      expect((await succeed('install')).slice(0, -1)).toEqual(OBJECTS.map((name) => `${name} unchanged`));
      expect((await metadata(work.upstreamPath('web')))?.finalizers).toEqual([UPSTREAM_FINALIZER]);
      await succeed('uninstall', '--finalizers=delete');
      await operator.stop();
    });

    it('orphan: retains the upstreams in the gateway with a label, and removes everything from the cluster', async () => {
      await using operator = await living('web');
      const lines = await succeed('uninstall', '--finalizers=orphan');
      expect(lines).toContain(
        'The operator labeled their upstreams as orphaned. The upstreams stay in the gateways.',
      );
      expect(lines).toContain(`ClusterRoleBinding/${OPERATOR} deleted`);
      expect(lines).toContain(`ServiceAccount/${NAMESPACE}/${OPERATOR} deleted`);
      expect(heldId('web')).toMatchObject({ labels: { 'gatewayupstream.dev/deletion-policy': 'Orphan' } });
      expect(await work.get(CRD)).toBeUndefined();
      expect(await work.get(CLUSTER_ROLE)).toBeUndefined();
      await operator.stop();
      // A second uninstall finds nothing and succeeds.
      const again = await succeed('uninstall');
      expect(again).toHaveLength(1);
      expect(again[0]).toMatch(/^The operator is uninstalled\./);
    });

    const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/${OPERATOR}`;
    /** No test waits for this duration, because the leader hands the Lease over. */
    const NEVER_EXPIRES = { leaseDuration: '1h', renewDeadline: '30m', retryPeriod: '500ms' };
    const leads = (operator: Operator) =>
      eventually(() => expect(operator.output()).toContain('"msg":"became the leader"'), SLOWLY);

    it('takes over the Lease, writes OperatorUninstalled to every object, and lets the next operator lead at once', async () => {
      const { file } = await outOfCluster('handover.kubeconfig');
      await using operator = await startWith(file, { leaderElection: NEVER_EXPIRES });
      await leads(operator);
      await connect();
      await upstream('web');
      const set = await livingSet();
      await ready('web');

      const lines = await succeed('uninstall', '--finalizers=orphan', '--keep-crds');
      expect(lines).toContain(
        `This command holds Lease ${NAMESPACE}/${OPERATOR}. No operator writes to the gateways.`,
      );
      // The operator exited with code 0, not because it lost its permissions.
      await eventually(() => expect(operator.process.exitCode).toBe(0), SLOWLY);
      expect(operator.output()).toContain('"msg":"handing the lease over to its named successor"');
      expect(await work.get(LEASE)).toBeUndefined();

      const uninstalled = { status: 'Unknown', reason: 'OperatorUninstalled' };
      for (const path of [work.upstreamPath('web'), connectionPath('main'), set]) {
        const { status } = (await work.get(path)) as { readonly status: object };
        expect(conditionOf({ status }, 'Ready')).toMatchObject(uninstalled);
        expect(conditionOf({ status }, 'Stalled')).toMatchObject({
          status: 'True',
          reason: 'OperatorUninstalled',
        });
        expect(status).not.toHaveProperty('endpoints');
      }
      expect(await work.condition('web', 'Programmed')).toMatchObject(uninstalled);
      expect(await work.condition('web', 'Accepted')).toMatchObject({ status: 'True' });
      expect(await work.get(work.upstreamPath('web'))).toMatchObject({
        status: { upstreamId: `${work.namespace}.web`, upstreamCreateTime: expect.any(String) },
      });

      const again = await outOfCluster('handover.kubeconfig');
      await using next = await startWith(again.file, { leaderElection: NEVER_EXPIRES });
      await leads(next);
      await ready('web');
      for (const path of [work.upstreamPath('web'), connectionPath('main'), set]) {
        await eventually(async () => {
          const object = await work.get(path);
          expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'True' });
          expect(conditionOf(object, 'Stalled')).toBeUndefined();
          expect(JSON.stringify(object)).not.toContain('OperatorUninstalled');
        }, SLOWLY);
      }
      expect(await work.get(work.upstreamPath('web'))).toMatchObject({
        status: { endpoints: { summary: '1/1' } },
      });
      await succeed('uninstall', '--finalizers=delete', '--keep-crds');
      await work.remove(connectionPath('main'));
      await next.stop();
    });

    it('keeps the Lease with --keep-lease', async () => {
      await using operator = await living('web');
      await succeed('uninstall', '--finalizers=orphan', '--keep-crds', '--keep-rbac', '--keep-lease');
      const { spec } = (await work.get(LEASE)) as { readonly spec: { readonly holderIdentity: string } };
      expect(spec.holderIdentity).toMatch(/^uninstall:/);
      expect((await metadata(work.upstreamPath('web')))?.finalizers ?? []).toEqual([]);
      // Another uninstall takes it over at once.
      const lines = await succeed('uninstall', '--finalizers=orphan');
      expect(lines.filter((line) => line.includes('did not hand over'))).toEqual([]);
      expect(await work.get(LEASE)).toBeUndefined();
      await operator.stop();
    });

    it('delete: fails at once with the routes that refer to upstreams', async () => {
      await using operator = await living('web');
      const route = { uri: '/web', upstream_id: `${work.namespace}.web` };
      await fetch(`${gateway.adminUrl}/apisix/admin/routes/shop-front`, {
        method: 'PUT',
        headers: { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' },
        body: JSON.stringify(route),
      });
      const { code, stderr } = await program('uninstall', '--finalizers=delete');
      expect(code).toBe(3);
      expect(stderr).toContain(
        `1 GatewayUpstream cannot be deleted, because routes or other objects in the gateway use their upstreams (${work.namespace}/web: can not delete this upstream, route [shop-front] is still using it now)`,
      );
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
      // The operator is still the leader, and deletes the upstream after the route.
      expect(operator.process.exitCode).toBeNull();
      await fetch(`${gateway.adminUrl}/apisix/admin/routes/shop-front`, {
        method: 'DELETE',
        headers: { 'X-API-KEY': gateway.adminKey },
      });
      await succeed('uninstall', '--finalizers=delete');
      expect(heldId('web')).toBeUndefined();
      await operator.stop();
    });

    it('keeps the objects of another operator with --namespaces', async () => {
      const { file } = await outOfCluster('all.kubeconfig');
      await using operator = await startWith(file);
      await connect();
      await upstream('web');
      await ready('web');
      const elsewhere = createWorkload(cluster, await cluster.newNamespace('elsewhere'));
      await elsewhere.service('web');
      await elsewhere.endpoints('web', ['10.1.0.9']);
      await elsewhere.upstream('web', {
        connectionRef: { name: 'main' },
        backends: [{ serviceRef: { name: 'web', port: 'http' } }],
      });
      await eventually(async () =>
        expect(await elsewhere.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
      );
      const untouched = async () => {
        const {
          metadata: meta,
          spec,
          status,
        } = (await elsewhere.get(elsewhere.upstreamPath('web'))) as {
          readonly metadata: { readonly finalizers?: unknown };
          readonly spec: unknown;
          readonly status: { readonly conditions: unknown };
        };
        return { finalizers: meta.finalizers, spec, conditions: status.conditions };
      };
      const before = await untouched();
      const lines = await succeed('uninstall', '--finalizers=orphan', '--namespaces', work.namespace);
      expect(lines).toContain(
        `The CRDs are kept, because another operator maintains 1 GatewayUpstream (${elsewhere.namespace}/web).`,
      );
      expect(await untouched()).toEqual(before);
      expect((await metadata(work.upstreamPath('web')))?.finalizers ?? []).toEqual([]);
      expect(await work.condition('web', 'Ready')).toMatchObject({ reason: 'OperatorUninstalled' });
      // The other operator uses the connection too.
      expect((await metadata(connectionPath('main')))?.finalizers).toEqual([CONNECTION_FINALIZER]);
      expect(conditionOf(await work.get(connectionPath('main')), 'Ready')).toMatchObject({ reason: 'Ready' });
      await operator.stop();
    });

    it('orphan: removes the finalizers itself if no operator runs, and says so', async () => {
      const operator = await living('web');
      await operator.stop();
      const lines = await succeed('uninstall', '--finalizers=orphan', '--keep-crds', '--timeout', '1s');
      expect(lines.join('\n')).toContain(
        `The operator did not label the upstreams of ${work.namespace}/web as orphaned within 1 s`,
      );
      expect(lines).toContain(
        `Finalizer ${UPSTREAM_FINALIZER} removed from 1 GatewayUpstream: ${work.namespace}/web`,
      );
      expect(lines).toContain(`Finalizer ${CONNECTION_FINALIZER} removed from 1 GatewayConnection: main`);
      // The objects still exist, and can be deleted.
      expect(await work.get(work.upstreamPath('web'))).toMatchObject({ spec: { deletionPolicy: 'Orphan' } });
      for (const path of [work.upstreamPath('web'), connectionPath('main')]) {
        expect((await metadata(path))?.finalizers ?? []).toEqual([]);
        await work.remove(path);
        expect(await work.get(path)).toBeUndefined();
      }
      expect(heldId('web')).toBeDefined();
    });

    it('orphan: releases an object whose deletion waits for an operator', async () => {
      const operator = await living('web');
      await operator.stop();
      await work.remove(work.upstreamPath('web'));
      expect(await work.get(work.upstreamPath('web'))).toBeDefined();
      await succeed('uninstall', '--finalizers=orphan', '--keep-crds', '--timeout', '1s');
      expect(await work.get(work.upstreamPath('web'))).toBeUndefined();
      expect(heldId('web')).toBeDefined();
    });

    it('delete: waits for the operator to delete the upstreams', async () => {
      await using operator = await living('web');
      const lines = await succeed('uninstall', '--finalizers=delete');
      expect(lines).toContain('The operator deleted all upstreams.');
      expect(heldId('web')).toBeUndefined();
      expect(await work.get(CRD)).toBeUndefined();
      await operator.stop();
    });

    /** Creates a set for the same Services. */
    const livingSet = async (): Promise<string> => {
      await work.create(`${GROUP_PATH}/gatewayupstreamsets`, {
        apiVersion: `${GROUP}/v1alpha1`,
        kind: 'GatewayUpstreamSet',
        metadata: { name: 'apps' },
        spec: {
          namespaceSelector: { names: [work.namespace] },
          template: { spec: { connectionRef: { name: 'main' } } },
        },
      });
      await ready('web-http');
      return `${GROUP_PATH}/gatewayupstreamsets/apps`;
    };

    it('delete: deletes sets first, so they do not create objects again', async () => {
      await using operator = await living('web');
      await livingSet();
      const lines = await succeed('uninstall', '--finalizers=delete', '--keep-crds');
      expect(lines).toContain('GatewayUpstreamSet apps deleted');
      expect(lines).toContain('The operator deleted all upstreams.');
      expect(gateway.ids('upstreams')).toEqual([]);
      await operator.stop();
    });

    it('orphan: keeps a set and the upstreams of its GatewayUpstreams', async () => {
      await using operator = await living('web');
      const set = await livingSet();
      const lines = await succeed('uninstall', '--finalizers=orphan', '--keep-crds');
      expect(lines).toContain(
        'The operator labeled their upstreams as orphaned. The upstreams stay in the gateways.',
      );
      expect(await work.get(set)).toMatchObject({
        spec: { template: { spec: { deletionPolicy: 'Orphan' } } },
      });
      expect(heldId('web-http')).toMatchObject({
        labels: { 'gatewayupstream.dev/deletion-policy': 'Orphan' },
      });
      await operator.stop();
      await work.remove(set);
    });

    it('delete: lists the remaining objects if no operator runs, and removes nothing else', async () => {
      const operator = await living('web');
      await operator.stop();
      const { code, stderr } = await program('uninstall', '--finalizers=delete', '--timeout', '1s');
      expect(code).toBe(3);
      expect(stderr).toContain(
        `the operator did not delete 1 GatewayUpstream within 1 s (${work.namespace}/web)`,
      );
      expect(stderr).toContain('Nothing else was removed');
      expect(await work.get(CLUSTER_ROLE)).toBeDefined();
      await succeed('uninstall', '--finalizers=orphan', '--timeout', '1s');
    });

    it('keeps objects of another manager', async () => {
      await succeed('install');
      await work.patch(CLUSTER_ROLE, { metadata: { labels: { 'app.kubernetes.io/managed-by': 'Helm' } } });
      expect(await succeed('uninstall')).toContain(`ClusterRole/${OPERATOR} kept: it is managed by Helm`);
      expect(await work.get(CLUSTER_ROLE)).toBeDefined();
      await work.remove(CLUSTER_ROLE);
    });

    it('removes only finalizers with the permissions of the chart hook', async () => {
      const operator = await living('web');
      await operator.stop();
      const kubeconfig = await kubeconfigWith(`release-${work.namespace}`, RELEASE_RULES);
      const lines = await succeed(
        ...['uninstall', '--finalizers=orphan', '--keep-crds', '--keep-rbac', '--timeout', '1s'],
        ...['--kubeconfig', kubeconfig],
      );
      expect(lines.at(-1)).toContain('The CRDs and all');
      expect(await work.get(CLUSTER_ROLE)).toBeDefined();
      await succeed('uninstall', '--finalizers=orphan', '--timeout', '1s');
    });
  });

  describe('errors', () => {
    it.each([
      ['install', 'install'],
      ['uninstall', 'uninstall'],
      ['check', 'check'],
    ])('are one line for %s without an API server', async (_, command) => {
      const kubeconfig = join(cluster.dir, 'nobody.kubeconfig');
      const text = await readFile(cluster.kubeconfig, 'utf8');
      await writeFile(kubeconfig, text.replaceAll(cluster.server, 'https://127.0.0.1:1'));
      const { code, stdout, stderr } = await program(command, '--kubeconfig', kubeconfig);
      expect(code).toBe(1);
      expect(command === 'check' ? stdout : stderr).toContain('the API server could not be reached: ');
      expect(stderr.split('\n').length).toBeLessThanOrEqual(2);
    });

    it.each(['install', 'uninstall'])('are one line for %s with an invalid token', async (command) => {
      const kubeconfig = await cluster.kubeconfigFor({ name: 'stranger', token: 'wrong' });
      const { code, stderr } = await program(command, '--kubeconfig', kubeconfig);
      expect(code).toBe(1);
      expect(stderr).toBe(
        'the API server answered 401: Unauthorized: the credentials in the kubeconfig are wrong or expired; renew them and run the command again\n',
      );
    });

    it('name the missing permission of install', async () => {
      const kubeconfig = await kubeconfigWith(`nobody-${work.namespace}`, []);
      const { code, stderr } = await program('install', '--kubeconfig', kubeconfig);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^the API server answered 403: clusterrolebindings.* cannot get resource /);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    });

    it('are one line for a kubeconfig that is missing or invalid', async () => {
      const missing = join(cluster.dir, 'missing');
      expect(await program('install', '--kubeconfig', missing)).toMatchObject({
        code: 1,
        stderr: `${missing} cannot be read: ENOENT\n`,
      });
      const broken = join(cluster.dir, 'broken');
      await writeFile(broken, 'token: [secret-word');
      const { code, stderr } = await program('install', '--kubeconfig', broken);
      expect(code).toBe(1);
      expect(stderr).toBe(`${broken} cannot be read: it is not a valid kubeconfig\n`);
      expect(await runProgram(['install'])).toMatchObject({
        code: 1,
        stderr: 'no kubeconfig found: set --kubeconfig or KUBECONFIG\n',
      });
    });
  });
});
