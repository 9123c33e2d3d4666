import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { GROUP } from '../../src/api/group.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { rbacObjects } from '../support/catalog.ts';
import { CHART_DIR, createHelm, type Helm, templateArgs } from '../support/chart/helm.ts';
import { ensureHelm } from '../support/chart/helm-binary.ts';
import { startHookRunner } from '../support/chart/hook-runner.ts';
import { type RenderedRun, type RenderedWorkload, runRendered } from '../support/chart/run-rendered.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { freePorts } from '../support/control-plane/free-ports.ts';
import { eventually } from '../support/eventually.ts';
import { requireTool } from '../support/external-tool.ts';
import { conditionOf, connectionPath, createWorkload } from '../support/workload.ts';

/** The parts of a rendered object that these tests use. */
interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly rules?: unknown;
  readonly roleRef?: unknown;
  readonly subjects?: unknown;
}

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const CONNECTION = {
  enabled: true,
  apisix: {
    adminUrl: 'http://apisix-admin.apisix:9180',
    adminKey: { existingSecret: { name: 'apisix-admin' } },
  },
};

function objectsOf(manifest: string): readonly Rendered[] {
  return parseAllDocuments(manifest).flatMap((document) => (document.toJS() as Rendered | null) ?? []);
}

// A separate control plane, because uninstall handles all GatewayUpstreams of the cluster.
let cluster: ControlPlane;
let helm: Helm;

beforeAll(async () => {
  cluster = await startControlPlane();
  helm = createHelm(cluster);
});
// Only these tests need helm, which is built from Go modules.
beforeEach(({ skip }) => requireTool(skip, ensureHelm));
afterAll(() => cluster?.close());

describe('the chart', () => {
  it('passes helm lint', async () => {
    expect(await helm(['lint', '--strict', CHART_DIR])).toContain('0 chart(s) failed');
  });
});

describe('rendered objects', () => {
  const namespace = 'rendered';
  const render = async (values: object) =>
    objectsOf(await helm(templateArgs('example', namespace), { values }));
  const find = (objects: readonly Rendered[], kind: string, name: string) =>
    objects.find((object) => object.kind === kind && object.metadata.name === name);

  beforeAll(async () => {
    await cluster.kubectl(['apply', '--server-side', '-f', join(CHART_DIR, 'crds')]);
    await cluster.kubectl([
      'wait',
      '--for=condition=Established',
      '--timeout=60s',
      '-f',
      join(CHART_DIR, 'crds'),
    ]);
    for (const name of [namespace, 'shop', 'blog']) {
      await cluster.request('POST', '/api/v1/namespaces', { metadata: { name } });
    }
  });
  afterAll(async () => {
    await cluster?.kubectl(['delete', '-f', join(CHART_DIR, 'crds')]);
  });

  const files = ['single', 'production', 'namespaced', 'openshift'];
  it.each(files)('of ci/%s-values.yaml are accepted by the API server', async (file) => {
    const values: unknown = parse(await readFile(join(CHART_DIR, `ci/${file}-values.yaml`), 'utf8'));
    const manifest = await helm(templateArgs('example', namespace), { values: values as object });
    const objects = objectsOf(manifest);
    const strict = ['--server-side', '--dry-run=server', '--validate=strict', '-f', '-'];
    const taken = await cluster.kubectl(['apply', ...strict], { input: manifest });
    expect(taken.trim().split('\n')).toHaveLength(objects.length);
    expect(objects.length).toBeGreaterThan(5);
  });

  it('have topology spread, disruption budget and Lease only with several replicas', async () => {
    const kinds = (objects: readonly Rendered[]) => objects.map(({ kind }) => kind);
    const spreads = (objects: readonly Rendered[]) =>
      JSON.stringify(find(objects, 'Deployment', 'example-gateway-upstream-operator')).includes(
        'topologySpreadConstraints',
      );
    const two = await render({});
    const one = await render({ replicas: 1 });
    expect(kinds(two)).toContain('PodDisruptionBudget');
    expect(spreads(two)).toBe(true);
    expect(kinds(one)).not.toContain('PodDisruptionBudget');
    expect(spreads(one)).toBe(false);
  });

  it('have notes with the next command, with and without a connection', async () => {
    const notes = async (values: object) => {
      const args = ['install', 'example', CHART_DIR, '--namespace', namespace, '--dry-run=client'];
      return await helm(args, { values });
    };
    expect(await notes({})).toMatch(
      /No gateway is configured yet[\s\S]*--set defaultConnection\.enabled=true/,
    );
    const withGateway = await notes({ defaultConnection: { ...CONNECTION, idPrefix: 'eu.' } });
    expect(withGateway).toMatch(/Its id in the gateway is eu\.<namespace>\.<name>/);
    expect(withGateway).not.toContain('No gateway is configured yet');
  });

  it('are valid without all optional values', async () => {
    const gone = Object.fromEntries(
      ['resources', 'nodeSelector', 'tolerations', 'affinity', 'extraEnv', 'commonLabels', 'podLabels'].map(
        (key) => [key, null],
      ),
    );
    const config = { clusterId: null, kubeconfig: null, operatorNamespace: null, roleName: null };
    const objects = await render({ ...gone, config, image: { tag: null, digest: null } });
    expect(find(objects, 'Deployment', 'example-gateway-upstream-operator')).toBeDefined();
  });

  it('comply with the restricted Pod Security Standard', async () => {
    const strict = await cluster.newNamespace('restricted', { awaitServiceAccount: true });
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await cluster.request('PATCH', `/api/v1/namespaces/${strict}`, { metadata: { labels } });
    const submit = async (spec: object) => {
      const pod = { metadata: { generateName: 'try-' }, spec: { ...spec, serviceAccountName: 'default' } };
      return await cluster.request('POST', `/api/v1/namespaces/${strict}/pods?dryRun=All`, pod);
    };
    const workloads = (await render({})).filter(({ kind }) => kind === 'Deployment' || kind === 'Job');
    expect(workloads).toHaveLength(4);
    for (const workload of workloads) {
      const { spec } = (workload as unknown as RenderedWorkload).spec.template;
      expect(await submit(spec)).toMatchObject({ status: 201 });
      const { securityContext: _, ...careless } = spec as typeof spec & {
        readonly securityContext?: unknown;
      };
      expect(await submit(careless)).toMatchObject({ status: 403 });
    }
  });

  it('let a hook fail at once with the reason if a retry cannot help', async () => {
    const jobs = (await render({})).filter(({ kind }) => kind === 'Job') as readonly unknown[] as readonly {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
      readonly spec: {
        readonly activeDeadlineSeconds: number;
        readonly podFailurePolicy: unknown;
        readonly template: { readonly spec: { readonly containers: readonly object[] } };
      };
    }[];
    expect(jobs).toHaveLength(3);
    for (const { metadata, spec } of jobs) {
      expect(metadata.annotations['helm.sh/hook-output-log-policy']).toBe('hook-failed');
      expect(spec.activeDeadlineSeconds).toBeLessThanOrEqual(240);
      expect(spec.podFailurePolicy).toEqual({
        rules: [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [2, 3] } }],
      });
      expect(spec.template.spec.containers).toMatchObject([
        { terminationMessagePolicy: 'FallbackToLogsOnError' },
      ]);
    }
  });

  it('uninstall only the watched namespaces, with the configured Lease', async () => {
    const config = {
      namespaces: ['shop', 'blog'],
      operatorNamespace: 'shop',
      leaderElection: { leaseName: 'mine' },
    };
    const objects = await render({ config });
    const args = (name: string) =>
      (find(objects, 'Job', `example-gateway-upstream-operator-${name}`) as unknown as RenderedWorkload).spec
        .template.spec.containers[0]?.args;
    const common = ['--namespace=shop', '--lease-name=mine', '--namespaces=shop,blog'];
    expect(args('uninstall')).toEqual(expect.arrayContaining([...common, '--keep-lease']));
    expect(args('release')).toEqual(expect.arrayContaining(common));
    expect(args('release')).not.toContain('--keep-lease');
    const role = find(objects, 'Role', 'example-gateway-upstream-operator-uninstall');
    expect(role).toMatchObject({
      metadata: { namespace: 'shop' },
      rules: [{ resources: ['leases'], resourceNames: ['mine'] }],
    });
  });

  it('prefer the image digest to the tag', async () => {
    const image = { repository: 'registry.example.com/operator', tag: '9', digest: DIGEST };
    const workloads = (await render({ image })).filter(({ kind }) => kind === 'Deployment' || kind === 'Job');
    expect(workloads).toHaveLength(4);
    for (const workload of workloads) {
      expect(JSON.stringify(workload)).toContain(`"image":"registry.example.com/operator@${DIGEST}"`);
    }
  });
});

describe('permissions', () => {
  const release = 'gateway-upstream-operator';
  const sorted = (entries: readonly unknown[]) => entries.map((entry) => JSON.stringify(entry)).sort();
  /** The granted rules by subject and namespace, without other fields. */
  const rightsOf = (objects: readonly object[]) =>
    (objects as readonly Rendered[])
      .filter(({ kind }) => /^(Cluster)?Role(Binding)?$/.test(kind))
      .map(({ kind, metadata: { name, namespace }, rules, roleRef, subjects }) => {
        return { kind, name, namespace, rules, roleRef, subjects };
      });

  it.each([
    ['by default', {}, {}],
    [
      'in some namespaces',
      { namespaces: ['shop', 'blog', 'shop'] },
      { namespaces: ['shop', 'blog', 'shop'] },
    ],
    [
      'in namespaces with the own one and default',
      { namespaces: ['default', 'own'] },
      { namespaces: ['default', 'own'] },
    ],
    ['with a lease of another name', { leaderElection: { leaseName: 'mine' } }, { leaseName: 'mine' }],
    ['with Secrets of a namespace', { secretNamespaces: ['shop'] }, { secretNamespaces: ['shop'] }],
    [
      'with Secrets of one of two namespaces',
      { namespaces: ['default', 'shop'], secretNamespaces: ['shop'] },
      { namespaces: ['default', 'shop'], secretNamespaces: ['shop'] },
    ],
    ['without a lease', { leaderElection: { enabled: false } }, { leaderElection: false }],
    ['with nodes', { watchNodes: true }, { watchNodes: true }],
    ['without registries', { watchRegistries: false }, { watchRegistries: false }],
    [
      'with nodes and Endpoints in some namespaces',
      { watchNodes: true, readEndpoints: true, namespaces: ['shop'] },
      { watchNodes: true, readEndpoints: true, namespaces: ['shop'] },
    ],
  ])('%s: equal those of `install`', async (_, config, options) => {
    const values = { config, replicas: 1 };
    const objects = objectsOf(await helm(templateArgs(release, 'own'), { values }));
    const ours = objects.filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] === undefined);
    const expected = rbacObjects({ namespace: 'own', ...options });
    expect(sorted(rightsOf(ours))).toEqual(sorted(rightsOf(expected)));
  });
});

describe('invalid values', () => {
  const connectionWith = (more: object) => ({ ...CONNECTION, ...more });
  const cases: readonly (readonly [string, object, string])[] = [
    [
      'replicaCount: 3',
      { replicaCount: 3 },
      "at '/replicaCount': value must be '(unknown key; expected one of: global, replicas,",
    ],
    ['replicas as text', { replicas: 'two' }, "at '/replicas': got string, want integer"],
    ['negative replicas', { replicas: -1 }, "at '/replicas': minimum: got -1, want 0"],
    [
      'replicas without a lease',
      { config: { leaderElection: { enabled: false } } },
      'set replicas to 1 or config.leaderElection.enabled to true',
    ],
    [
      'a wrong key of image',
      { image: { tagg: '1' } },
      "at '/image/tagg': value must be '(unknown key; expected one of: repository, tag, digest, pullPolicy)'",
    ],
    ['a tag that is a number', { image: { tag: 1.1 } }, "at '/image/tag': got number, want string"],
    ['no repository', { image: { repository: '' } }, "at '/image/repository': minLength: got 0, want 1"],
    [
      'a digest without algorithm',
      { image: { digest: 'abc' } },
      'image.digest: "abc" must be "sha256:" followed by 64 lowercase hexadecimal digits',
    ],
    [
      'an unknown pull policy',
      { image: { pullPolicy: 'always' } },
      "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ],
    [
      'pull secrets by name alone',
      { imagePullSecrets: ['registry'] },
      "at '/imagePullSecrets/0': got string, want object",
    ],
    [
      'Secrets of a namespace that is not looked at',
      { config: { namespaces: ['shop'], secretNamespaces: ['blog'] } },
      'config.secretNamespaces: "blog" is missing from config.namespaces',
    ],
    [
      'a wrong key of config',
      { config: { loglevel: 'info' } },
      "at '/config/loglevel': value must be '(unknown key; expected one of: kubeconfig,",
    ],
    [
      'an unknown log level',
      { config: { logLevel: 'loud' } },
      "at '/config/logLevel': value must be one of 'trace', 'debug', 'info', 'warn', 'error'",
    ],
    [
      'a duration without unit',
      { config: { resyncInterval: '600' } },
      'config.resyncInterval: "600" is not a duration from 1000ms to 24h: set it to a value such as 500ms, 10s or 1m30s',
    ],
    [
      'a duration that is a number',
      { config: { requestTimeout: 5 } },
      "at '/config/requestTimeout': got number, want string",
    ],
    [
      'a duration of nothing',
      { config: { leaderElection: { retryPeriod: '0s' } } },
      'config.leaderElection.retryPeriod: "0s" is not a duration from 100ms',
    ],
    [
      'a duration that is too long',
      { config: { resyncInterval: '25h' } },
      'config.resyncInterval: "25h" is not a duration',
    ],
    [
      'a lease shorter than a write',
      { config: { requestTimeout: '7s' } },
      'config.leaderElection.leaseDuration: 15s must be longer than renewDeadline (8s) plus config.requestTimeout (7s)',
    ],
    [
      'a retry period that is too long',
      { config: { leaderElection: { retryPeriod: '5s' } } },
      'config.leaderElection.renewDeadline: 8s must be at least twice retryPeriod (5s)',
    ],
    [
      'a name of a lease',
      { config: { leaderElection: { leaseName: 'My_Lease' } } },
      'config.leaderElection.leaseName: "My_Lease" is not a valid name',
    ],
    ['a port of 0', { config: { ops: { port: 0 } } }, "at '/config/ops/port': minimum: got 0, want 1"],
    [
      'an invalid port',
      { config: { ops: { port: 'http' } } },
      'config.ops.port: "http" must be a port from 1 to 65535',
    ],
    [
      'a host with a port',
      { config: { ops: { host: 'localhost:80' } } },
      'config.ops.host: "localhost:80" must be an IP address or a host name',
    ],
    [
      'too many status writes',
      { config: { statusConcurrency: 65 } },
      "at '/config/statusConcurrency': maximum: got 65, want 64",
    ],
    [
      'an invalid namespace',
      { config: { namespaces: ['shop', 'Team_A'] } },
      'config.namespaces[1]: "Team_A" is not a valid namespace name',
    ],
    [
      'namespaces as text',
      { config: { namespaces: 'shop' } },
      "at '/config/namespaces': got string, want array",
    ],
    [
      'a clusterId with a space',
      { config: { clusterId: 'my cluster' } },
      'config.clusterId: "my cluster" must be at most 64 characters without spaces',
    ],
    [
      'a connection without address',
      { defaultConnection: connectionWith({ apisix: { adminKey: { value: 'k' } } }) },
      'defaultConnection.apisix.adminUrl: "" must be an HTTP or HTTPS URL',
    ],
    [
      'a connection without key',
      { defaultConnection: connectionWith({ apisix: { adminUrl: 'http://a:9180' } }) },
      'set existingSecret.name to the name of the Secret that contains the admin key, or value to the key itself',
    ],
    [
      'a connection with two keys',
      {
        defaultConnection: connectionWith({
          apisix: { adminUrl: 'http://a:9180', adminKey: { value: 'k', existingSecret: { name: 's' } } },
        }),
      },
      'value and existingSecret.name are both set: remove one',
    ],
    [
      'credentials in the address',
      {
        defaultConnection: connectionWith({
          apisix: { adminUrl: 'http://u:p@a:9180', adminKey: { value: 'k' } },
        }),
      },
      'without credentials, query or fragment',
    ],
    [
      'an idPrefix with a slash',
      { defaultConnection: connectionWith({ idPrefix: 'a/b' }) },
      'defaultConnection.idPrefix: "a/b" must be at most 32',
    ],
    [
      'all and names',
      { defaultConnection: connectionWith({ allowedNamespaces: { names: ['shop'] } }) },
      'all: true already allows every namespace: set all to false to restrict them',
    ],
    [
      'an unknown policy',
      { defaultConnection: { tenantPolicy: { adoption: 'yes' } } },
      "at '/defaultConnection/tenantPolicy/adoption': value must be one of 'Deny', 'Allow'",
    ],
    [
      'a limit of nothing',
      { defaultConnection: { limits: { concurrency: 0 } } },
      "at '/defaultConnection/limits/concurrency': minimum: got 0, want 1",
    ],
    [
      'a wrong key of tls',
      { defaultConnection: { apisix: { tls: { verify: false } } } },
      "at '/defaultConnection/apisix/tls/verify': value must be '(unknown key; expected one of: caSecretRef,",
    ],
    [
      'an unknown end',
      { uninstall: { finalizers: 'keep' } },
      "at '/uninstall/finalizers': value must be one of 'orphan', 'delete', 'refuse'",
    ],
    [
      'a key that is taken away',
      { config: { requestTimeout: null } },
      "at '/config': missing property 'requestTimeout'",
    ],
    [
      'a label that is not a string',
      { podLabels: { team: 1 } },
      "at '/podLabels/team': got number, want string",
    ],
  ];

  it.each(cases)('are rejected: %s', async (_, values, message) => {
    const rendered = helm(templateArgs('gateway-upstream-operator', 'default'), { values });
    await expect(rendered).rejects.toThrow(message);
  });
});

describe('a release', () => {
  const release = 'gateway-upstream-operator';
  const namespace = 'gateway-upstream-system';
  const id = 'shop.web';
  let gateway: StandIn;
  let values: object;

  const workload = async () => {
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${release}`;
    const { status, body } = await cluster.request('GET', path);
    expect(status).toBe(200);
    return body as RenderedWorkload;
  };
  const port = () =>
    (values as { readonly config: { readonly ops: { readonly port: number } } }).config.ops.port;
  /** Starts the container of the Deployment, and waits for its readiness probe. */
  const start = async (): Promise<RenderedRun> => {
    const run = await runRendered(cluster, await workload());
    await eventually(async () => {
      if (run.process.exitCode !== null)
        throw new Error(`ended with ${run.process.exitCode}: ${run.output()}`);
      const answer = await fetch(`http://127.0.0.1:${port()}/readyz`);
      if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`);
    });
    return run;
  };
  const nodes = () => (gateway.get('upstreams', id) as { readonly nodes?: unknown } | undefined)?.nodes;
  const crdDescription = async () => {
    const { body } = await cluster.request(
      'GET',
      `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gatewayupstreams.${GROUP}`,
    );
    const { spec } = body as {
      readonly spec: {
        readonly versions: readonly {
          readonly schema: { readonly openAPIV3Schema: { readonly description: string } };
        }[];
      };
    };
    return spec.versions[0]?.schema.openAPIV3Schema.description;
  };
  /** An earlier version of the chart, with other CRDs. */
  const olderChart = async () => {
    const folder = join(cluster.dir, 'older-chart');
    await cp(CHART_DIR, folder, { recursive: true });
    const edit = async (file: string, from: RegExp, to: string) => {
      const text = await readFile(join(folder, file), 'utf8');
      expect(text).toMatch(from);
      await writeFile(join(folder, file), text.replace(from, to));
    };
    await edit('Chart.yaml', /^version: .*$/m, 'version: 0.0.9');
    await edit(
      `crds/${GROUP}_gatewayupstreams.yaml`,
      /description: A GatewayUpstream describes one upstream.*/,
      'description: As it was before.',
    );
    return folder;
  };

  beforeAll(async () => {
    gateway = await startStandIn();
    const [opsPort] = await freePorts(1);
    values = {
      config: {
        ops: { host: '127.0.0.1', port: opsPort },
        requestTimeout: '2s',
        // No test waits for this duration, because the leader hands the Lease over.
        leaderElection: { leaseDuration: '1h', renewDeadline: '30m', retryPeriod: '500ms' },
      },
      defaultConnection: {
        enabled: true,
        apisix: { adminUrl: gateway.adminUrl, adminKey: { value: gateway.adminKey } },
      },
    };
  });
  afterAll(() => gateway?.[Symbol.asyncDispose]());

  it('leads from an empty cluster to a Ready upstream', async () => {
    const chart = await olderChart();
    const notes = await helm(['install', release, chart, '-n', namespace, '--create-namespace'], { values });
    expect(notes).toContain('kubectl wait --for=condition=Ready --timeout=60s gatewayconnection/default');
    expect(notes).toContain('kind: GatewayUpstream');
    expect(notes).not.toContain(gateway.adminKey);
    expect(await crdDescription()).toBe('As it was before.');

    await using operator = await start();
    await cluster.request('POST', '/api/v1/namespaces', { metadata: { name: 'shop' } });
    const work = createWorkload(cluster, 'shop');
    await work.service('web');
    await work.endpoints('web', ['10.1.0.1']);
    await work.upstream('web', { backends: [{ serviceRef: { name: 'web', port: 'http' } }] });
    await eventually(async () => {
      expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True' });
      const connection = await work.get(connectionPath('default'));
      expect(conditionOf(connection, 'Ready')).toMatchObject({ status: 'True' });
    });
    expect(nodes()).toEqual([{ host: '10.1.0.1', port: 8080, weight: 1 }]);
    expect(await operator.stop()).toBe(0);
    expect(operator.output()).not.toMatch(/forbidden|"statusCode":403/i);
  });

  it('upgrades with its CRDs and rolls back', async () => {
    const before = await workload();
    await using hooks = startHookRunner(cluster, namespace);
    const upgraded = { ...values, image: { tag: 'next' } };
    await helm(['upgrade', release, CHART_DIR, '-n', namespace, '--timeout', '2m'], { values: upgraded });
    expect(hooks.runs).toMatchObject([{ args: ['install', '--crds-only'], code: 0 }]);
    expect(await crdDescription()).toMatch(/^A GatewayUpstream describes/);
    expect(JSON.stringify(await workload())).toContain('gateway-upstream-operator:next');
    await using operator = await start();
    expect(await operator.stop()).toBe(0);

    await helm(['rollback', release, '1', '-n', namespace]);
    expect((await workload()).spec.template).toEqual(before.spec.template);
    expect(hooks.runs).toHaveLength(1);
    const leftOver = await cluster.kubectl(['get', 'jobs,serviceaccounts', '-n', namespace, '-o', 'name']);
    expect(leftOver).not.toContain('-crds');
  });

  /** Runs helm uninstall. The operator stops when its Deployment is deleted. */
  const uninstall = async (operator: RenderedRun) => {
    await helm(['uninstall', release, '-n', namespace, '--wait', '--timeout', '2m']);
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${release}`;
    expect((await cluster.request('GET', path)).status).toBe(404);
    expect(await operator.stop()).toBe(0);
  };
  const lease = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${release}`;
  const leftBehind = async () => {
    const kinds =
      'deployments,jobs,configmaps,services,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets';
    const inNamespace = await cluster.kubectl(['get', kinds, '-n', namespace, '-o', 'name']);
    const inCluster = await cluster.kubectl(['get', 'clusterroles,clusterrolebindings', '-o', 'name']);
    return [...inNamespace.split('\n'), ...inCluster.split('\n')].filter((name) => name.includes(release));
  };

  it('continues after a failed uninstall and a rollback', async () => {
    const work = createWorkload(cluster, 'shop');
    const bindings = async () => {
      const paths = [`clusterrolebindings/${release}`, `namespaces/${namespace}/rolebindings/${release}`];
      const objects = await Promise.all(
        paths.map((path) => work.get(`/apis/rbac.authorization.k8s.io/v1/${path}`)),
      );
      return objects.map((object) => (object?.['subjects'] as readonly object[] | undefined)?.length ?? 0);
    };
    await using hooks = startHookRunner(cluster, namespace, { broken: `${release}-release` });
    await helm(['upgrade', release, CHART_DIR, '-n', namespace, '--timeout', '2m'], { values });
    await using operator = await start();
    await eventually(async () =>
      expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
    );
    await expect(helm(['uninstall', release, '-n', namespace])).rejects.toThrow(
      `job ${release}-release failed`,
    );
    expect(hooks.runs.at(-1)).toMatchObject({ job: `${release}-uninstall`, code: 0 });
    expect(await bindings()).toEqual([0, 0]);
    expect(await operator.exited).toBe(0);
    expect(await work.condition('web', 'Ready')).toMatchObject({ reason: 'OperatorUninstalled' });

    await helm(['rollback', release, '-n', namespace]);
    expect(await bindings()).toEqual([1, 1]);
    await using next = await start();
    await eventually(
      async () => expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
      {
        timeoutMs: 60_000,
      },
    );
    expect(await next.stop()).toBe(0);
  });

  it('retains upstreams in the gateway on uninstall, and leaves no object with a finalizer', async () => {
    const work = createWorkload(cluster, 'shop');
    await using hooks = startHookRunner(cluster, namespace);
    await helm(['upgrade', release, CHART_DIR, '-n', namespace, '--timeout', '2m'], { values });
    await using operator = await start();
    await work.upstream('old', { backends: [{ serviceRef: { name: 'web', port: 'http' } }] });
    await eventually(async () => {
      expect(await work.condition('old', 'Ready')).toMatchObject({ status: 'True' });
    });
    await uninstall(operator);
    expect(hooks.runs.at(-1)).toMatchObject({
      args: expect.arrayContaining(['--finalizers=orphan']),
      code: 0,
    });

    expect(gateway.get('upstreams', id)).toMatchObject({
      nodes: [{ host: '10.1.0.1', port: 8080 }],
      labels: { 'gatewayupstream.dev/deletion-policy': 'Orphan' },
    });
    expect(await leftBehind()).toEqual([]);
    expect(await work.get(lease)).toBeUndefined();
    await eventually(async () => expect(await work.get(connectionPath('default'))).toBeUndefined());
    expect(await work.get(work.upstreamPath('web'))).not.toHaveProperty('metadata.finalizers');
    expect(await work.condition('web', 'Ready')).toMatchObject({
      status: 'Unknown',
      reason: 'OperatorUninstalled',
    });
    await work.remove(work.upstreamPath('old'));
    expect(await work.get(work.upstreamPath('old'))).toBeUndefined();
    expect(gateway.get('upstreams', 'shop.old')).toBeDefined();
  });

  it('manages retained upstreams again, and honors uninstall.finalizers refuse and delete', async () => {
    const work = createWorkload(cluster, 'shop');
    const ending = (finalizers: string) => ({ values: { ...values, uninstall: { finalizers } } });
    await helm(['install', release, CHART_DIR, '-n', namespace], ending('refuse'));
    await using operator = await start();
    await work.upstream('news', { backends: [{ serviceRef: { name: 'web', port: 'http' } }] });
    await eventually(async () => {
      expect(await work.condition('news', 'Ready')).toMatchObject({ status: 'True' });
    });
    await work.endpoints('web', ['10.1.0.2']);
    await eventually(() => expect(nodes()).toEqual([{ host: '10.1.0.2', port: 8080, weight: 1 }]));
    await eventually(async () =>
      expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True', reason: 'Ready' }),
    );
    await work.patch(work.upstreamPath('web'), { spec: { deletionPolicy: null } });
    await using hooks = startHookRunner(cluster, namespace);
    await expect(helm(['uninstall', release, '-n', namespace])).rejects.toThrow(
      `job ${release}-uninstall failed`,
    );
    // A Job with this exit code is not retried.
    expect(hooks.runs.map(({ code }) => code)).toEqual([3]);
    expect(hooks.runs[0]?.output).toContain('shop/news, shop/web');
    expect(await work.condition('news', 'Ready')).toMatchObject({ status: 'True' });
    expect(operator.process.exitCode).toBeNull();
    await workload();

    // After a failed uninstall, Helm accepts no upgrade until a rollback to the same revision.
    await helm(['rollback', release, '1', '-n', namespace]);
    await helm(['upgrade', release, CHART_DIR, '-n', namespace, '--timeout', '2m'], ending('delete'));
    const route = async (method: 'PUT' | 'DELETE') =>
      await fetch(`${gateway.adminUrl}/apisix/admin/routes/front`, {
        method,
        headers: { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' },
        ...(method === 'PUT' ? { body: JSON.stringify({ uri: '/', upstream_id: 'shop.news' }) } : {}),
      });
    await route('PUT');
    await expect(helm(['uninstall', release, '-n', namespace])).rejects.toThrow(
      `job ${release}-uninstall failed`,
    );
    expect(hooks.runs.at(-1)).toMatchObject({
      code: 3,
      output: expect.stringContaining(
        'shop/news: can not delete this upstream, route [front] is still using it now',
      ),
    });
    // The operator still runs with its remaining permissions.
    expect(operator.process.exitCode).toBeNull();
    expect(await work.get(work.upstreamPath('web'))).toBeUndefined();
    await route('DELETE');
    await eventually(async () => expect(await work.get(work.upstreamPath('news'))).toBeUndefined());
    // Helm can repeat a failed uninstall.
    await uninstall(operator);
    expect(await work.get(lease)).toBeUndefined();
    expect(gateway.ids('upstreams')).toEqual(['shop.old']);
    await eventually(async () => expect(await work.get(connectionPath('default'))).toBeUndefined());
    expect(await leftBehind()).toEqual([]);
  });
});
