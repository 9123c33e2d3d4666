import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withMirrored } from '../../src/cli/plan/mirror-endpoints.ts';
import { PlanError } from '../../src/cli/plan/plan-error.ts';
import type { Plan } from '../../src/cli/plan/planned.ts';
import type { JsonObject } from '../../src/runtime/json.ts';
import { transformSlice } from '../../src/sources/kubernetes/transform.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { admit } from '../support/catalog.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, startOperator } from '../support/operator.ts';
import { ownerLabels } from '../support/owner-labels.ts';
import { runProgram } from '../support/program.ts';
import { createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const SYSTEM = 'gateway-upstream-system';
const EVERYTHING = 'gatewayconnections,gatewayupstreams,namespaces,services,endpointslices,secrets';

function isAdmitted(value: object): boolean {
  try {
    admit([{ where: 'manifest', value }], Date.now());
    return true;
  } catch (error) {
    if (error instanceof PlanError) return false;
    throw error;
  }
}

/** The steps depend on each other. */
describe('plan', () => {
  let cluster: ControlPlane;
  let kubeconfig: string;
  let token: string;
  let gateway: StandIn;
  let shop: Workload;

  const run = async (...args: readonly string[]) => {
    const ended = await runProgram(['plan', '--namespace', SYSTEM, ...args]);
    expect(ended.stdout + ended.stderr).not.toContain(gateway.adminKey);
    return ended;
  };
  const live = (...args: readonly string[]) => run('--kubeconfig', kubeconfig, ...args);
  const json = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await live('-o', 'json', ...args);
    expect(stderr).toBe('');
    return { code, plan: JSON.parse(stdout) as Plan };
  };
  const admin = async (method: string, path: string, body?: object) => {
    const response = await fetch(`${gateway.adminUrl}/apisix/admin/${path}`, {
      method,
      headers: { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (await response.json()) as object;
  };

  beforeAll(async () => {
    // A separate control plane, because plan reads all objects and the test removes the CRDs.
    cluster = await startControlPlane();
    await installCrds(cluster);
    for (const name of [SYSTEM, 'shop']) await cluster.kubectl(['create', 'namespace', name]);
    token = await installRbac(cluster, SYSTEM);
    kubeconfig = await cluster.kubeconfigFor({ name: 'plan', token, namespace: SYSTEM });
    gateway = await startStandIn();
    shop = createWorkload(cluster, 'shop');
    await writeSecret(cluster, SYSTEM, 'gateway', { 'admin-key': gateway.adminKey });
    await shop.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await shop.service('web');
    await shop.endpoints('web', ['10.0.0.1', { address: '10.0.0.2', ready: false }]);
    await shop.upstream('web', { backends: [{ serviceRef: { name: 'web', port: 'http' } }], retries: 2 });
    await shop.upstream('lost', { backends: [{ serviceRef: { name: 'lost', port: 80 } }] });
    await shop.upstream('watched', {
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
      syncPolicy: 'Observe',
    });
    const uid = await cluster.kubectl(['get', 'namespace', 'kube-system', '-o', 'jsonpath={.metadata.uid}']);
    const owner = { cluster: uid, connection: 'default', namespace: 'shop', name: 'gone' };
    await admin('PUT', 'upstreams/shop.gone', {
      type: 'roundrobin',
      nodes: [{ host: '10.0.0.9', port: 80, weight: 1 }],
      labels: ownerLabels(owner, { orphan: false }),
    });
  });
  afterAll(async () => {
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  let before: Plan;

  it('shows the changes that run would make, without making them', async () => {
    const { code, plan } = await json();
    before = plan;
    expect(code).toBe(2);
    expect(plan.summary).toEqual({
      create: 1,
      update: 0,
      delete: 1,
      none: 1,
      observe: 1,
      unknown: 0,
      problems: 1,
    });
    expect(plan.upstreams).toMatchObject([
      { upstreamId: 'shop.gone', action: 'Delete', nodes: [{ kind: 'remove', node: { host: '10.0.0.9' } }] },
      { upstreamId: 'shop.lost', action: 'None', conditions: [{ reason: 'ServiceNotFound' }] },
      { upstreamId: 'shop.watched', action: 'Observe', nodes: [{ kind: 'add', node: { host: '10.0.0.1' } }] },
      { upstreamId: 'shop.web', action: 'Create', nodes: [{ kind: 'add', node: { host: '10.0.0.1' } }] },
    ]);
    expect(gateway.ids('upstreams')).toEqual(['shop.gone']);
    expect(
      await cluster.kubectl(['get', 'gwu', '-A', '-o', 'jsonpath={.items[*].metadata.finalizers}']),
    ).toBe('');
  });

  it('prints text without colors to a pipe, except with a flag', async () => {
    const { code, stdout } = await live('--only', 'shop/web');
    expect(code).toBe(2);
    expect(stdout).toBe(`shop/web (connection default, upstream shop.web)
  + create: The upstream does not exist in the gateway
    + 10.0.0.1:8080 weight 1  (ready in Service shop/web)
    + labels: ${JSON.stringify(before.upstreams[3]?.fields[0]?.after)}
    + retries: 2
Plan: 1 to create, 0 to update, 0 to delete, 0 unchanged.
`);
    expect((await live('--color', 'always')).stdout).toContain('\u001b[32m');
  });

  it('shows the same changes for files with the same objects, and for an exported list', async () => {
    const dump = join(cluster.dir, 'dump.yaml');
    await writeFile(dump, await cluster.kubectl(['get', EVERYTHING, '-A', '-o', 'yaml']));
    const asked = await run('-f', dump, '-o', 'json');
    expect(asked.stderr).toBe('');
    expect(asked.code).toBe(2);
    expect(JSON.parse(asked.stdout)).toEqual(before);

    const exported = join(cluster.dir, 'upstreams.json');
    await writeFile(exported, JSON.stringify(await admin('GET', 'upstreams')));
    const read = await run('-f', dump, '--gateway-state', exported, '-o', 'json');
    expect(JSON.parse(read.stdout)).toEqual(before);
    const mixed = await json('--gateway-state', exported);
    expect(mixed.plan).toEqual(before);
  });

  it('equals the writes of the operator, and is empty afterwards', async () => {
    await using operator = await startOperator(cluster, SYSTEM, token, { resyncInterval: '1s' });
    await operator.ready();
    await eventually(async () => expect(gateway.ids('upstreams')).toEqual(['shop.web']));
    const written = gateway.get('upstreams', 'shop.web');
    const created = before.upstreams.find(({ upstreamId }) => upstreamId === 'shop.web');
    expect(written?.['nodes']).toEqual(created?.nodes.map(({ node: { priority: _, ...node } }) => node));
    for (const { field, after } of created?.fields ?? []) expect(written?.[field], field).toEqual(after);
    await eventually(async () => expect((await shop.condition('web', 'Ready'))?.status).toBe('True'));

    const { code, plan } = await json();
    expect(code).toBe(0);
    expect(plan.summary).toMatchObject({ create: 0, update: 0, delete: 0, none: 2, observe: 1 });
  });

  it('rejects the same files as the API server', async () => {
    const upstream = (spec: object, name = 'one') => ({
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstream',
      metadata: { name, namespace: 'shop' },
      spec,
    });
    const registry = (spec: object) => ({
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'ServiceRegistry',
      metadata: { name: 'one' },
      spec,
    });
    const backends = [{ serviceRef: { name: 'web', port: 80 } }];
    const instances = { registryRef: { name: 'one' }, service: 'web' };
    const manifests = [
      upstream({ backends }),
      upstream({ backends, retries: null, removalGuard: { holdFor: null } }),
      upstream({ backends, color: 'red' }),
      upstream({ backends: [{ serviceRef: { name: 'web', port: 80, prot: 'x' } }] }),
      upstream({ backends: [] }),
      upstream({ backends: [{ ...backends[0], serviceName: 'shop/web:http' }] }),
      upstream({ backends, removalGuard: { holdFor: '25h' } }),
      upstream({ backends, scheme: 'http' }),
      upstream({ backends }, 'Not.A-name'),
      { ...upstream({ backends }), metadata: { name: 'one', namespace: 'shop', labels: null } },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'one', namespace: 'shop' },
        spec: { ports: [{ port: 0 }] },
      },
      registry({ type: 'Consul', consul: { servers: ['http://consul:8500'] } }),
      registry({ type: 'Consul', nacos: { servers: ['http://nacos:8848'] } }),
      upstream({ backends: [{ ...instances, metadata: { zone: ['a'] }, portFrom: { metadata: 'grpc' } }] }),
      upstream({ backends: [{ service: 'web' }] }),
      upstream({ backends: [{ ...instances, consul: {}, nacos: {} }] }),
    ];
    const answers = await Promise.all(
      manifests.map(async (value, index) => {
        const served = await cluster
          .kubectl(['apply', '--dry-run=server', '-f', '-'], { input: JSON.stringify(value) })
          .then(
            () => true,
            () => false,
          );
        return { index, served, admitted: isAdmitted(value) };
      }),
    );
    expect(answers.map(({ admitted }) => admitted)).toEqual(answers.map(({ served }) => served));
    expect(answers.filter(({ served }) => served).map(({ index }) => index)).toEqual([0, 1, 9, 11, 13]);
  });

  it('mirrors Endpoints like the Kubernetes controller', async () => {
    const ports = [{ name: 'sql', port: 5432, protocol: 'TCP' }];
    await shop.create('/api/v1/namespaces/shop/services', {
      metadata: { name: 'db' },
      spec: { ports: [{ name: 'sql', port: 5432 }] },
    });
    await shop.create('/api/v1/namespaces/shop/endpoints', {
      metadata: { name: 'db' },
      subsets: [
        {
          addresses: [{ ip: '192.0.2.1' }, { ip: '2001:db8::1' }],
          notReadyAddresses: [{ ip: '192.0.2.2' }],
          ports,
        },
      ],
    });
    const path =
      '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io/service-name%3Ddb';
    /** The endpoints of slices, independent of names and order. */
    const facts = (slices: readonly unknown[]) =>
      slices
        .flatMap((slice) => transformSlice(slice) ?? [])
        .map(({ family, ports: of, endpoints }) => ({
          family,
          ports: of,
          endpoints: endpoints.toSorted((a, b) => (a.address < b.address ? -1 : 1)),
        }))
        .sort((a, b) => (a.family < b.family ? -1 : 1));
    await eventually(async () => {
      const { items = [] } = ((await shop.get(path)) ?? {}) as { items?: JsonObject[] };
      expect(items).toHaveLength(2);
      const [service, endpoints] = await Promise.all(
        ['services', 'endpoints'].map((plural) => shop.get(`/api/v1/namespaces/shop/${plural}/db`)),
      );
      const mirrored = withMirrored([], [endpoints ?? {}], [service ?? {}]);
      expect(facts(mirrored)).toEqual(facts(items));
    });
  });

  it('exits with 1 if a gateway is unreachable, the input is invalid, or the CRDs are missing', async () => {
    await gateway[Symbol.asyncDispose]();
    const down = await json();
    expect(down.code).toBe(1);
    expect(down.plan.gateways).toMatchObject([
      { connection: 'default', known: false, message: expect.stringContaining('refused the connection') },
    ]);
    expect(await run('-f', join(cluster.dir, 'none.yaml'))).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('none.yaml cannot be read: ENOENT'),
    });
    expect(await run('--hue', 'red')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--hue'),
    });
    await cluster.kubectl(['patch', 'gwc/default', '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);
    for (const name of ['web', 'lost', 'watched']) {
      const patch = '{"metadata":{"finalizers":null}}';
      await cluster.kubectl(['-n', 'shop', 'patch', `gwu/${name}`, '--type=merge', '-p', patch]);
    }
    await cluster.kubectl(['delete', '--wait', 'crd', 'gatewayupstreams.gatewayupstream.dev']);
    await eventually(async () => {
      expect(await live()).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('gateway-upstream-operator install --crds-only'),
      });
    });
  });
});
