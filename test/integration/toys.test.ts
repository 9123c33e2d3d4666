import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { connectionPath, createWorkload, type Workload, writeSecret } from '../support/workload.ts';
import { toysCatalog } from '../toys/catalog.ts';
import { ToyConfigServer } from '../toys/toy-gateway/config-server.ts';
import { ToyDataPlane } from '../toys/toy-gateway/data-plane.ts';
import { ToyRegistry } from '../toys/toy-source/registry-server.ts';

const MAIN = fileURLToPath(new URL('../toys/main.ts', import.meta.url));
const TOKEN = 'toy-token';
const GROUP_PATH = '/apis/gatewayupstream.dev/v1alpha1';

describe('an operator with a toy gateway and a toy source', () => {
  let cluster: ControlPlane;
  let operator: Operator | undefined;
  let work: Workload;
  let server: ToyConfigServer;
  let plane: ToyDataPlane;
  let registry: ToyRegistry;

  const served = (id = 'apps.web') =>
    ((plane.served(id)?.['nodes'] ?? []) as readonly { readonly host: string }[]).map(({ host }) => host);
  const programmed = (status: string, reason: string) =>
    eventually(
      async () => {
        const condition = await work.condition('web', 'Programmed');
        expect(condition).toMatchObject({ status, reason });
        return condition;
      },
      { timeoutMs: 60_000 },
    );

  beforeAll(async () => {
    server = await ToyConfigServer.start(TOKEN);
    plane = new ToyDataPlane(server.url, TOKEN, 'first');
    registry = await ToyRegistry.start(TOKEN);
    cluster = await startControlPlane();
    await installCrds(cluster, toysCatalog);
    const namespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, namespace, [], {}, toysCatalog);
    await writeSecret(cluster, namespace, 'toy', { token: TOKEN });
    await cluster.request('POST', '/api/v1/namespaces', { metadata: { name: 'apps' } });
    work = createWorkload(cluster, 'apps');
    operator = await startOperator(cluster, namespace, token, {
      clusterId: 'cluster-a',
      program: { main: MAIN, nodeArgs: [] },
    });
    await operator.ready();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await cluster?.close();
    await plane?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const connection = (spec: object) => ({
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'GatewayConnection',
    metadata: { name: 'default' },
    spec: { type: 'Toy', allowedNamespaces: { all: true }, allowedRegistries: ['vms'], ...spec },
  });
  const toy = { url: 'http://127.0.0.1:1', tokenSecretRef: { name: 'toy' } };

  it.each<[string, object, string]>([
    ['without the section of its type', {}, 'type Toy needs the field toy'],
    [
      'with the section of another type',
      { toy, apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } } },
      'apisix is allowed only with type APISIX: remove it',
    ],
  ])('rejects a connection %s', async (_, spec, message) => {
    const { status, body } = await cluster.request(
      'POST',
      `${GROUP_PATH}/gatewayconnections`,
      connection(spec),
    );
    expect(status).toBe(422);
    expect(JSON.stringify(body)).toContain(message);
  });

  it('serves an upstream, waits for its confirmation, and reports a rejection', async () => {
    await work.create(`${GROUP_PATH}/gatewayconnections`, connection({ toy: { ...toy, url: server.url } }));
    await work.service('web');
    await work.endpoints('web', ['10.0.0.1']);
    await work.upstream('web', {
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
      labels: { team: 'a' },
    });
    await programmed('True', 'Programmed');
    expect(served()).toEqual(['10.0.0.1']);
    expect(server.record('apps.web')).toEqual({
      labels: { team: 'a' },
      marks: {
        operator: 'gateway-upstream-operator',
        cluster: 'cluster-a',
        connection: 'default',
        namespace: 'apps',
        name: 'web',
      },
    });
    await eventually(async () => {
      const { status } = (await work.get(connectionPath('default'))) as { readonly status?: object };
      expect(status).toMatchObject({ dataPlanes: { total: 1, reachable: 1 } });
    });

    plane.paused = true;
    await work.endpoints('web', ['10.0.0.1', '10.0.0.2']);
    await programmed('Unknown', 'Pending');
    expect(served()).toEqual(['10.0.0.1']);
    plane.paused = false;
    await programmed('True', 'Programmed');
    expect(served()).toEqual(['10.0.0.1', '10.0.0.2']);

    {
      using _refusal = plane.refuse('apps.web', 'no route to 10.0.0.3');
      await work.endpoints('web', ['10.0.0.1', '10.0.0.2', '10.0.0.3']);
      const condition = await programmed('False', 'Rejected');
      expect(condition?.message).toContain('the last accepted configuration stays in force');
      expect(condition?.message).toContain('no route to 10.0.0.3');
      expect(served()).toEqual(['10.0.0.1', '10.0.0.2']);
    }
    await programmed('True', 'Programmed');
    expect(served()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  });

  it('empties the upstream of a deleted object, and releases the object', async () => {
    await work.remove(work.upstreamPath('web'));
    await eventually(async () => expect(await work.get(work.upstreamPath('web'))).toBeUndefined());
    expect(server.resource('apps.web')?.body).toEqual({});
    expect(server.record('apps.web')).toBeUndefined();
    await eventually(() => expect(served()).toEqual([]));
  });

  const serviceRegistry = (spec: object) => ({
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'ServiceRegistry',
    metadata: { name: 'vms' },
    spec: { type: 'Toy', allowedNamespaces: { all: true }, ...spec },
  });

  it('rejects a ServiceRegistry without the section of its type', async () => {
    const { status, body } = await cluster.request(
      'POST',
      `${GROUP_PATH}/serviceregistries`,
      serviceRegistry({}),
    );
    expect(status).toBe(422);
    expect(JSON.stringify(body)).toContain('toy is required with type Toy');
  });

  it('follows a registry service, and keeps its nodes and their share during an outage', async () => {
    const instance = (address: string) => ({ address, port: 8080, state: 'up' }) as const;
    registry.register('legacy', [instance('10.1.0.1')]);
    await work.create(
      `${GROUP_PATH}/serviceregistries`,
      serviceRegistry({ toy: { url: registry.url, pollIntervalMs: 100, tokenSecretRef: { name: 'toy' } } }),
    );
    await work.service('pods');
    await work.endpoints('pods', ['10.0.1.1']);
    await work.upstream('mixed', {
      backends: [
        { registryRef: { name: 'vms' }, service: 'legacy' },
        { serviceRef: { name: 'pods', port: 80 } },
      ],
    });
    await eventually(() => expect(served('apps.mixed').sort()).toEqual(['10.0.1.1', '10.1.0.1']));

    registry.register('legacy', [instance('10.1.0.1'), instance('10.1.0.2')]);
    await eventually(() => expect(served('apps.mixed').sort()).toEqual(['10.0.1.1', '10.1.0.1', '10.1.0.2']));

    {
      using _outage = registry.fail('fails');
      await eventually(async () =>
        expect(await work.condition('mixed', 'ResolvedRefs')).toMatchObject({
          status: 'Unknown',
          reason: 'SourceUnavailable',
        }),
      );
      await work.endpoints('pods', ['10.0.1.2']);
      await eventually(() =>
        expect(served('apps.mixed').sort()).toEqual(['10.0.1.2', '10.1.0.1', '10.1.0.2']),
      );
    }
    registry.register('legacy', [instance('10.1.0.2'), instance('10.1.0.3')]);
    await eventually(() => expect(served('apps.mixed').sort()).toEqual(['10.0.1.2', '10.1.0.2', '10.1.0.3']));
    await eventually(async () =>
      expect(await work.condition('mixed', 'ResolvedRefs')).toMatchObject({ status: 'True' }),
    );
  });
});
