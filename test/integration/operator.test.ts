import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import {
  conditionOf,
  connectionPath,
  createWorkload,
  type Workload,
  writeSecret,
} from '../support/workload.ts';

const cluster = await sharedControlPlane();
const RESYNC = '10m';

/** The hosts and ports of an upstream's nodes in the gateway. */
function nodes(gateway: StandIn, id: string): readonly string[] | undefined {
  const value = gateway.get('upstreams', id) as
    | { readonly nodes: readonly { readonly host: string; readonly port: number }[] }
    | undefined;
  return value?.nodes.map(({ host, port }) => `${host}:${port}`);
}

const calls = (gateway: StandIn, method: string) =>
  gateway.requests.filter((request) => request.method === method).map(({ path }) => path);

/** All output and objects of the operators in this file. The last test searches them for keys. */
const outputs: (() => string)[] = [];
const keys: string[] = [];

describe('operator', () => {
  let operatorNamespace: string;
  let token: string;
  let operator: Operator;
  let gateway: StandIn;
  let work: Workload;
  const connection = 'main';

  const start = async () => {
    const started = await startOperator(cluster, operatorNamespace, token, {
      resyncInterval: RESYNC,
      requestTimeout: '2s',
    });
    outputs.push(started.output);
    await started.ready();
    return started;
  };
  const id = (name: string) => `${work.namespace}.${name}`;
  const ready = (name: string, status: string, reason: string) =>
    eventually(async () => {
      const condition = await work.condition(name, 'Ready');
      expect(condition).toMatchObject({ status, reason });
      return condition;
    });
  /** Waits until the gateway has received no request for much longer than a reaction takes. */
  const quiet = async (on: StandIn) => {
    let seen = -1;
    await eventually(
      () => {
        const now = on.requests.length;
        const same = now === seen;
        seen = now;
        expect(same).toBe(true);
      },
      { intervalMs: 500 },
    );
  };

  beforeAll(async () => {
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, operatorNamespace);
    gateway = await startStandIn();
    keys.push(gateway.adminKey);
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': `${gateway.adminKey}\n` });
    work = createWorkload(cluster, await cluster.newNamespace('apps'));
    await work.connection(connection, {
      adminUrl: gateway.adminUrl,
      secret: 'gateway',
      extra: { tenantPolicy: { staticAddresses: 'Allow', upstreamIds: 'Any' } },
    });
    operator = await start();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
  });

  it('writes a Service to the gateway and reports Ready', async () => {
    await work.service('web');
    await work.endpoints('web', [
      '10.1.0.1',
      '10.1.0.2',
      { address: '10.1.0.3', ready: false, serving: false },
    ]);
    await work.upstream('web', {
      connectionRef: { name: connection },
      backends: [{ serviceRef: { name: 'web', port: 'http' } }],
    });
    await ready('web', 'True', 'Ready');
    expect(nodes(gateway, id('web'))).toEqual(['10.1.0.1:8080', '10.1.0.2:8080']);
    const object = await work.get(work.upstreamPath('web'));
    expect(object?.['status']).toMatchObject({
      observedGeneration: 1,
      upstreamId: id('web'),
      endpoints: { summary: '2/3', ready: 2, draining: 0, excluded: 1 },
    });
    for (const type of ['Accepted', 'ResolvedRefs', 'Programmed']) {
      expect(conditionOf(object, type)).toMatchObject({ status: 'True' });
    }
    const table = await cluster.kubectl(['-n', work.namespace, 'get', 'gwu', 'web']);
    expect(table).toMatch(/NAME\s+CONNECTION\s+UPSTREAM-ID\s+ENDPOINTS\s+READY\s+AGE/);
    expect(table).toMatch(new RegExp(`web\\s+main\\s+${id('web')}\\s+2/3\\s+True`));
  });

  it('sends one PUT and no GET for one endpoint change', async () => {
    await quiet(gateway);
    gateway.clearRequests();
    await work.endpoints('web', ['10.1.0.1', '10.1.0.4']);
    await eventually(() => expect(nodes(gateway, id('web'))).toEqual(['10.1.0.1:8080', '10.1.0.4:8080']));
    await quiet(gateway);
    expect(gateway.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `PUT /apisix/admin/upstreams/${id('web')}`,
    ]);
  });

  it('merges ten quick changes into few PUTs that end with the last state', async () => {
    await quiet(gateway);
    gateway.clearRequests();
    using _slow = gateway.addFault({ fault: { kind: 'delay', delayMs: 200 } });
    for (let last = 1; last <= 10; last += 1) await work.endpoints('web', [`10.1.1.${last}`]);
    await eventually(() => expect(nodes(gateway, id('web'))).toEqual(['10.1.1.10:8080']));
    await quiet(gateway);
    expect(calls(gateway, 'PUT').length).toBeLessThanOrEqual(4);
    expect(calls(gateway, 'GET')).toEqual([]);
    await work.endpoints('web', ['10.1.0.1', '10.1.0.2']);
    await eventually(() => expect(nodes(gateway, id('web'))).toHaveLength(2));
  });

  it('writes nothing if a change has no effect on the upstream', async () => {
    await quiet(gateway);
    gateway.clearRequests();
    await work.endpoints('web', [
      '10.1.0.2',
      '10.1.0.1',
      { address: '10.1.0.9', ready: false, serving: false },
    ]);
    await eventually(async () => {
      const object = await work.get(work.upstreamPath('web'));
      expect(object?.['status']).toMatchObject({
        endpoints: { summary: '2/3' },
        excluded: [{ address: '10.1.0.9:8080', reason: 'NotReady' }],
      });
    });
    expect(gateway.requests).toEqual([]);
  });

  it('lists the gateway once after a restart, and writes nothing without changes', async () => {
    await quiet(gateway);
    const before = await work.get(work.upstreamPath('web'));
    expect(await operator.stop()).toBe(0);
    gateway.clearRequests();
    operator = await start();
    await eventually(() => expect(calls(gateway, 'GET').length).toBeGreaterThan(0));
    await quiet(gateway);
    expect(gateway.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /apisix/admin/upstreams',
    ]);
    expect(await work.get(work.upstreamPath('web'))).toEqual(before);
  });

  it('lists the gateway once per resync, and writes only to repair drift', async () => {
    await operator.stop();
    gateway.clearRequests();
    operator = await startOperator(cluster, operatorNamespace, token, {
      resyncInterval: '1s',
      requestTimeout: '2s',
    });
    outputs.push(operator.output);
    await operator.ready();
    await eventually(() => expect(calls(gateway, 'GET').length).toBeGreaterThanOrEqual(4));
    expect(new Set(calls(gateway, 'GET'))).toEqual(new Set(['/apisix/admin/upstreams']));
    expect(calls(gateway, 'PUT')).toEqual([]);

    const headers = { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' };
    const url = `${gateway.adminUrl}/apisix/admin/upstreams/${id('web')}`;
    await fetch(`${url}/nodes`, { method: 'PATCH', headers, body: '[]' });
    await eventually(() => expect(nodes(gateway, id('web'))).toEqual(['10.1.0.1:8080', '10.1.0.2:8080']));
    await fetch(url, { method: 'DELETE', headers });
    await eventually(() => expect(nodes(gateway, id('web'))).toEqual(['10.1.0.1:8080', '10.1.0.2:8080']));

    // A full PUT of another client removes the labels. The create_time shows that it is the same object.
    await fetch(url, { method: 'PUT', headers, body: '{"type":"roundrobin","nodes":{"10.9.9.9:1":1}}' });
    await eventually(() => {
      expect(nodes(gateway, id('web'))).toEqual(['10.1.0.1:8080', '10.1.0.2:8080']);
      expect(gateway.get('upstreams', id('web'))?.['labels']).toMatchObject({
        'gatewayupstream.dev/namespace': work.namespace,
        'gatewayupstream.dev/name': 'web',
      });
    });
    await eventually(async () => {
      const events = await cluster.kubectl(['-n', work.namespace, 'describe', 'gwu', 'web']);
      expect(events).toContain('Repaired');
    });
    await operator.stop();
    operator = await start();
  });

  it('reports an unresolved reference, creates no upstream, and creates it when the Service appears', async () => {
    await work.upstream('later', {
      connectionRef: { name: connection },
      backends: [{ serviceName: `${work.namespace}/later:http` }],
    });
    const missing = await ready('later', 'False', 'ServiceNotFound');
    expect(missing?.message).toContain(`Service ${work.namespace}/later does not exist`);
    expect(gateway.get('upstreams', id('later'))).toBeUndefined();

    await work.service('later', [{ name: 'admin', port: 81 }]);
    const port = await ready('later', 'False', 'PortNotFound');
    expect(port?.message).toContain('81 (admin)');

    await work.patch(`/api/v1/namespaces/${work.namespace}/services/later`, {
      spec: { ports: [{ name: 'http', port: 80 }] },
    });
    await ready('later', 'True', 'NoReadyEndpoints');
    expect(nodes(gateway, id('later'))).toEqual([]);

    await work.endpoints('later', ['10.2.0.1']);
    await ready('later', 'True', 'Ready');
    expect(nodes(gateway, id('later'))).toEqual(['10.2.0.1:8080']);

    await work.remove(`/api/v1/namespaces/${work.namespace}/services/later`);
    await ready('later', 'False', 'ServiceNotFound');
    await eventually(() => expect(nodes(gateway, id('later'))).toEqual([]));
  });

  it('rejects a Service of another namespace, by serviceRef and serviceName', async () => {
    await work.upstream('elsewhere', {
      connectionRef: { name: connection },
      backends: [
        { serviceName: 'default/kubernetes:https' },
        { serviceRef: { name: 'kubernetes', namespace: 'default', port: 443 } },
      ],
    });
    await ready('elsewhere', 'False', 'RefNotPermitted');
    expect(gateway.get('upstreams', id('elsewhere'))).toBeUndefined();
    expect(await work.condition('elsewhere', 'ResolvedRefs')).toMatchObject({
      status: 'False',
      reason: 'RefNotPermitted',
    });
  });

  it('does not delete an upstream that another client created with the same id', async () => {
    const headers = { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' };
    const url = `${gateway.adminUrl}/apisix/admin/upstreams/${id('remade')}`;
    await work.upstream('remade', {
      connectionRef: { name: connection },
      backends: [{ addresses: [{ host: '192.0.2.1', port: 80 }] }],
    });
    await ready('remade', 'True', 'Ready');
    await fetch(url, { method: 'DELETE', headers });
    const theirs = JSON.stringify({
      type: 'roundrobin',
      nodes: { '10.7.7.7:7': 1 },
      labels: { owner: 'them' },
    });
    // The create_time (in seconds) must differ, because it distinguishes a new upstream from an overwritten one.
    const before = await work.get(work.upstreamPath('remade'));
    const { upstreamCreateTime = '' } = (before?.['status'] ?? {}) as {
      readonly upstreamCreateTime?: string;
    };
    await eventually(() =>
      expect(Math.floor(Date.now() / 1000)).toBeGreaterThan(Date.parse(upstreamCreateTime) / 1000),
    );
    await fetch(url, { method: 'PUT', headers, body: theirs });
    await work.remove(work.upstreamPath('remade'));
    await eventually(async () => expect(await work.get(work.upstreamPath('remade'))).toBeUndefined());
    expect(gateway.get('upstreams', id('remade'))?.['labels']).toEqual({ owner: 'them' });
  });

  it('adds a removed finalizer again', async () => {
    const path = work.upstreamPath('web');
    await work.patch(path, { metadata: { finalizers: null } });
    await eventually(async () => {
      const object = await work.get(path);
      expect((object?.['metadata'] as { finalizers?: string[] } | undefined)?.finalizers).toEqual([
        'gatewayupstream.dev/upstream-cleanup',
      ]);
    });
  });

  it('does not reveal the owner of an id to an object without permission', async () => {
    await work.patch(connectionPath(connection), { spec: { tenantPolicy: { upstreamIds: 'Prefixed' } } });
    const headers = { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' };
    const url = `${gateway.adminUrl}/apisix/admin/upstreams/somebody.secret-project`;
    await fetch(url, { method: 'PUT', headers, body: '{"type":"roundrobin","nodes":[]}' });
    await work.upstream('curious', {
      connectionRef: { name: connection },
      upstreamId: 'somebody.secret-project',
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
    });
    await ready('curious', 'False', 'IdNotAllowed');
    const object = await work.get(work.upstreamPath('curious'));
    expect(conditionOf(object, 'Programmed')).toMatchObject({ status: 'Unknown', reason: 'Pending' });
    await work.remove(work.upstreamPath('curious'));
    await work.patch(connectionPath(connection), { spec: { tenantPolicy: { upstreamIds: 'Any' } } });
    await ready('web', 'True', 'Ready');
  });

  it('does not change a foreign upstream, and uses its id after it is deleted', async () => {
    const headers = { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' };
    const url = `${gateway.adminUrl}/apisix/admin/upstreams/theirs`;
    await fetch(url, { method: 'PUT', headers, body: '{"type":"roundrobin","nodes":{"10.7.7.7:7":1}}' });
    const before = gateway.get('upstreams', 'theirs');
    await work.upstream('squatted', {
      connectionRef: { name: connection },
      upstreamId: 'theirs',
      backends: [{ addresses: [{ host: '192.0.2.1', port: 80 }] }],
    });
    const refused = await ready('squatted', 'False', 'NotOwned');
    expect(refused?.message).toContain('no ownership labels of this operator');
    expect(gateway.get('upstreams', 'theirs')).toEqual(before);
    await work.remove(work.upstreamPath('squatted'));
    await eventually(async () => expect(await work.get(work.upstreamPath('squatted'))).toBeUndefined());
    expect(gateway.get('upstreams', 'theirs')).toEqual(before);
  });

  it('gives an id to the older of two objects, and to the other one after the first is deleted', async () => {
    const spec = (host: string) => ({
      connectionRef: { name: connection },
      upstreamId: 'shared-id',
      backends: [{ addresses: [{ host, port: 80 }] }],
    });
    await work.upstream('first', spec('192.0.2.1'));
    await ready('first', 'True', 'Ready');
    await work.upstream('second', spec('192.0.2.2'));
    const taken = await ready('second', 'False', 'IdTaken');
    expect(taken?.message).toContain(`${work.namespace}/first`);
    expect(nodes(gateway, 'shared-id')).toEqual(['192.0.2.1:80']);
    await work.remove(work.upstreamPath('first'));
    await ready('second', 'True', 'Ready');
    expect(nodes(gateway, 'shared-id')).toEqual(['192.0.2.2:80']);
  });

  it('delays deletion while a route refers to the upstream, and names the route', async () => {
    await work.service('routed');
    await work.endpoints('routed', ['10.9.0.1', '10.9.0.2']);
    await work.upstream('routed', {
      connectionRef: { name: connection },
      backends: [{ serviceRef: { name: 'routed', port: 80 } }],
    });
    await ready('routed', 'True', 'Ready');
    const headers = { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' };
    const route = `${gateway.adminUrl}/apisix/admin/routes/shop`;
    await fetch(route, {
      method: 'PUT',
      headers,
      body: JSON.stringify({ uri: '/shop', upstream_id: id('routed') }),
    });
    await work.remove(work.upstreamPath('routed'));
    const waiting = await eventually(async () => {
      const condition = await work.condition('routed', 'Programmed');
      expect(condition).toMatchObject({ status: 'False', reason: 'InUse' });
      return condition;
    });
    expect(waiting?.message).toContain('route [shop]');
    // While the deletion waits, the upstream follows its endpoints.
    await work.endpoints('routed', ['10.9.0.2', '10.9.0.3']);
    const follows = async (addresses: readonly string[]) =>
      await eventually(() =>
        expect(nodes(gateway, id('routed'))).toEqual(addresses.map((address) => `${address}:8080`)),
      );
    await follows(['10.9.0.2', '10.9.0.3']);
    const triedAgain = async () => {
      const tries = calls(gateway, 'DELETE').length;
      await eventually(() => expect(calls(gateway, 'DELETE').length).toBeGreaterThan(tries));
    };
    await fetch(`${gateway.adminUrl}/apisix/admin/upstreams/${id('routed')}/nodes`, {
      method: 'PATCH',
      headers,
      body: '[]',
    });
    await triedAgain();
    await follows(['10.9.0.2', '10.9.0.3']);
    await eventually(async () =>
      expect(await cluster.kubectl(['-n', work.namespace, 'describe', 'gwu', 'routed'])).toContain(
        'Repaired',
      ),
    );

    // A rejected write is sent once, and the status still shows the route.
    using refused = gateway.addFault({
      fault: { kind: 'answer', status: 400, body: '{"error_msg":"no"}' },
      match: ({ method }) => method === 'PUT',
    });
    gateway.clearRequests();
    await work.endpoints('routed', ['10.9.0.3', '10.9.0.4']);
    await eventually(() => expect(calls(gateway, 'PUT')).toHaveLength(1));
    await triedAgain();
    expect(calls(gateway, 'PUT')).toHaveLength(1);
    expect(await work.condition('routed', 'Programmed')).toMatchObject(waiting ?? {});
    refused[Symbol.dispose]();
    await work.endpoints('routed', ['10.9.0.4', '10.9.0.5']);
    await follows(['10.9.0.4', '10.9.0.5']);
    await fetch(route, { method: 'DELETE', headers });
    await eventually(async () => expect(await work.get(work.upstreamPath('routed'))).toBeUndefined());
    expect(gateway.get('upstreams', id('routed'))).toBeUndefined();
  });

  it('applies a new deletionPolicy while a deletion waits', async () => {
    const headers = { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' };
    for (const [name, policy] of [
      ['forced', 'Force'],
      ['orphaned', 'Orphan'],
    ] as const) {
      await work.upstream(name, {
        connectionRef: { name: connection },
        backends: [{ addresses: [{ host: '192.0.2.1', port: 80 }] }],
      });
      await ready(name, 'True', 'Ready');
      const body = JSON.stringify({ uri: `/${name}`, upstream_id: id(name) });
      await fetch(`${gateway.adminUrl}/apisix/admin/routes/${name}`, { method: 'PUT', headers, body });
      await work.remove(work.upstreamPath(name));
      await ready(name, 'False', 'InUse');
      await work.patch(work.upstreamPath(name), { spec: { deletionPolicy: policy } });
      await eventually(async () => expect(await work.get(work.upstreamPath(name))).toBeUndefined());
    }
    expect(gateway.get('upstreams', id('forced'))).toBeUndefined();
    expect(gateway.get('upstreams', id('orphaned'))?.['labels']).toMatchObject({
      'gatewayupstream.dev/deletion-policy': 'Orphan',
    });
  });

  it('reports Programmed=Unauthorized with the remedy for a wrong key, and recovers when the Secret is corrected', async () => {
    const wrong = 'not-the-key-0123456789';
    keys.push(wrong);
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': wrong });
    const refused = await ready('web', 'False', 'Unauthorized');
    expect(refused?.message).toMatch(/Secret|key/);
    expect(await work.condition('web', 'Programmed')).toMatchObject({
      status: 'False',
      reason: 'Unauthorized',
    });
    expect(await work.condition('web', 'Accepted')).toMatchObject({ status: 'True' });
    await eventually(async () => {
      const object = await work.get(connectionPath(connection));
      expect(conditionOf(object, 'Authorized')).toMatchObject({ status: 'False', reason: 'Unauthorized' });
      expect(conditionOf(object, 'Reachable')).toMatchObject({ status: 'True' });
    });
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    await ready('web', 'True', 'Ready');
    await eventually(async () => {
      const object = await work.get(connectionPath(connection));
      expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'True' });
      expect(object?.['status']).toMatchObject({ gatewayVersion: '3.18.0' });
    });
  });

  it('reports Unknown/GatewayUnavailable while the gateway is down, and writes pending changes afterwards', async () => {
    await gateway.stop();
    await work.endpoints('web', ['10.1.5.1']);
    await ready('web', 'Unknown', 'GatewayUnavailable');
    expect(await work.condition('web', 'Accepted')).toMatchObject({ status: 'True' });
    expect((await operator.readyz()).status).toBe(200);
    await gateway.start();
    await ready('web', 'True', 'Ready');
    await eventually(() => expect(nodes(gateway, id('web'))).toEqual(['10.1.5.1:8080']));
  });

  it('does not take over a foreign upstream after an outage', async () => {
    const headers = { 'X-API-KEY': gateway.adminKey, 'Content-Type': 'application/json' };
    const url = `${gateway.adminUrl}/apisix/admin/upstreams/kept-by-others`;
    await fetch(url, { method: 'PUT', headers, body: '{"type":"roundrobin","nodes":{"10.7.7.7:7":1}}' });
    const before = gateway.get('upstreams', 'kept-by-others');
    await work.upstream('trespasser', {
      connectionRef: { name: connection },
      upstreamId: 'kept-by-others',
      backends: [{ addresses: [{ host: '192.0.2.1', port: 80 }] }],
    });
    await ready('trespasser', 'False', 'NotOwned');
    await gateway.stop();
    await work.endpoints('web', ['10.1.5.2']);
    await ready('trespasser', 'Unknown', 'GatewayUnavailable');
    expect((await work.get(work.upstreamPath('trespasser')))?.['status']).not.toHaveProperty(
      'upstreamCreateTime',
    );
    await gateway.start();
    await ready('trespasser', 'False', 'NotOwned');
    expect(gateway.get('upstreams', 'kept-by-others')).toEqual(before);
    await work.remove(work.upstreamPath('trespasser'));
  });

  it('reads an upstream after a write without a response', async () => {
    await quiet(gateway);
    gateway.clearRequests();
    using _cut = gateway.addFault({
      fault: { kind: 'cut', apply: 'before' },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    await work.endpoints('web', ['10.1.6.1']);
    await eventually(() => expect(nodes(gateway, id('web'))).toEqual(['10.1.6.1:8080']));
    await ready('web', 'True', 'Ready');
    await quiet(gateway);
    expect(calls(gateway, 'PUT')).toHaveLength(1);
    expect(calls(gateway, 'GET')).toContain(`/apisix/admin/upstreams/${id('web')}`);
  });

  it('compares the response of a write instead of trusting its status', async () => {
    const held = gateway.get('upstreams', id('web'));
    using _changed = gateway.addFault({
      fault: {
        kind: 'answer',
        status: 200,
        body: JSON.stringify({
          key: `/apisix/upstreams/${id('web')}`,
          value: { ...held, retries: 7, nodes: [] },
        }),
      },
      match: ({ method }) => method === 'PUT',
      times: 1,
    });
    await work.endpoints('web', ['10.1.6.2']);
    await ready('web', 'False', 'Rejected');
    expect((await work.condition('web', 'Programmed'))?.message).toContain('different values for retries');
    await work.endpoints('web', ['10.1.6.3']);
    await ready('web', 'True', 'Ready');
    expect(nodes(gateway, id('web'))).toEqual(['10.1.6.3:8080']);
  });

  it('writes to other gateways while one gateway hangs', async () => {
    await using hanging = await startStandIn({ adminKey: gateway.adminKey });
    using _hang = hanging.addFault({ fault: { kind: 'hang' } });
    await work.connection('hanging', {
      adminUrl: hanging.adminUrl,
      secret: 'gateway',
      extra: { tenantPolicy: { staticAddresses: 'Allow' } },
    });
    for (let n = 0; n < 40; n += 1) {
      await work.upstream(`stuck-${n}`, {
        connectionRef: { name: 'hanging' },
        backends: [{ serviceRef: { name: 'web', port: 80 } }],
      });
    }
    // Every change reaches the healthy gateway while the other one does not respond.
    for (let last = 1; last <= 10; last += 1) {
      await work.endpoints('web', [`10.1.7.${last}`]);
      await eventually(() => expect(nodes(gateway, id('web'))).toEqual([`10.1.7.${last}:8080`]));
    }
    await ready('stuck-0', 'Unknown', 'GatewayUnavailable');
    expect(await work.condition('web', 'Ready')).toMatchObject({ status: 'True' });
    for (let n = 0; n < 40; n += 1) await work.remove(work.upstreamPath(`stuck-${n}`));
    await work.remove(connectionPath('hanging'));
    _hang[Symbol.dispose]();
    await eventually(async () => expect(await work.get(connectionPath('hanging'))).toBeUndefined());
  });

  it('blocks no deletion if the connection is deleted first', async () => {
    await using other = await startStandIn({ adminKey: gateway.adminKey });
    await work.connection('leaving', { adminUrl: other.adminUrl, secret: 'gateway' });
    await work.upstream('tenant', {
      connectionRef: { name: 'leaving' },
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
    });
    await ready('tenant', 'True', 'Ready');
    await eventually(async () => {
      const object = await work.get(connectionPath('leaving'));
      expect((object?.['metadata'] as { finalizers?: string[] } | undefined)?.finalizers).toContain(
        'gatewayupstream.dev/in-use',
      );
    });
    await work.remove(connectionPath('leaving'));
    await eventually(async () => {
      expect(conditionOf(await work.get(connectionPath('leaving')), 'Ready')).toMatchObject({
        reason: 'InUse',
      });
    });
    await work.remove(work.upstreamPath('tenant'));
    await eventually(async () => expect(await work.get(work.upstreamPath('tenant'))).toBeUndefined());
    expect(other.ids('upstreams')).toEqual([]);
    await eventually(async () => expect(await work.get(connectionPath('leaving'))).toBeUndefined());
  });

  it('retains upstreams at once if their connection was removed by force', async () => {
    await using other = await startStandIn({ adminKey: gateway.adminKey });
    await work.connection('torn', { adminUrl: other.adminUrl, secret: 'gateway' });
    await work.upstream('left', {
      connectionRef: { name: 'torn' },
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
    });
    await ready('left', 'True', 'Ready');
    await operator.stop();
    await work.remove(connectionPath('torn'));
    await work.patch(connectionPath('torn'), { metadata: { finalizers: null } });
    operator = await start();
    await ready('left', 'False', 'ConnectionNotFound');
    await work.remove(work.upstreamPath('left'));
    await eventually(async () => expect(await work.get(work.upstreamPath('left'))).toBeUndefined());
    expect(other.ids('upstreams')).toEqual([id('left')]);
  });

  it('orphans an upstream after deletionTimeout if the gateway is down', async () => {
    await using dead = await startStandIn({ adminKey: gateway.adminKey });
    await work.connection('dying', { adminUrl: dead.adminUrl, secret: 'gateway' });
    const ending = createWorkload(cluster, await cluster.newNamespace('ending'));
    await ending.service('web');
    await ending.endpoints('web', ['10.1.0.1']);
    for (const [name, deletionTimeout] of [
      ['short', '1s'],
      ['long', '1h'],
    ] as const) {
      await ending.upstream(name, {
        connectionRef: { name: 'dying' },
        deletionTimeout,
        backends: [{ serviceRef: { name: 'web', port: 80 } }],
      });
      await eventually(async () =>
        expect(await ending.condition(name, 'Ready')).toMatchObject({ status: 'True' }),
      );
    }
    await dead.stop();
    await cluster.request('DELETE', `/api/v1/namespaces/${ending.namespace}`);
    await eventually(async () => expect(await ending.get(ending.upstreamPath('short'))).toBeUndefined(), {
      timeoutMs: 60_000,
    });
    expect(await ending.condition('long', 'Programmed')).toMatchObject({
      status: 'Unknown',
      reason: 'GatewayUnavailable',
    });
    await ending.patch(ending.upstreamPath('long'), { spec: { deletionPolicy: 'Orphan' } });
    await eventually(async () => expect(await ending.get(ending.upstreamPath('long'))).toBeUndefined());
    // The gateway cannot confirm that it has no upstreams, so the connection waits.
    await work.remove(connectionPath('dying'));
    await eventually(async () =>
      expect(conditionOf(await work.get(connectionPath('dying')), 'Ready')).toMatchObject({
        reason: 'InUse',
        message: expect.stringContaining('the operator cannot check the gateway for remaining upstreams'),
      }),
    );
    await work.patch(connectionPath('dying'), { spec: { deletionTimeout: '0s' } });
    await eventually(async () => expect(await work.get(connectionPath('dying'))).toBeUndefined());
    expect(dead.ids('upstreams')).toHaveLength(2);
  });

  it('deletes the upstream of an object that was deleted while the operator was stopped', async () => {
    await work.upstream('missed', {
      connectionRef: { name: connection },
      backends: [{ addresses: [{ host: '192.0.2.1', port: 80 }] }],
    });
    await ready('missed', 'True', 'Ready');
    await operator.kill();
    await work.remove(work.upstreamPath('missed'));
    operator = await start();
    await eventually(async () => expect(await work.get(work.upstreamPath('missed'))).toBeUndefined());
    expect(gateway.get('upstreams', id('missed'))).toBeUndefined();
  });

  it('removes the nodes of a namespace that is no longer allowed', async () => {
    await work.patch(connectionPath(connection), {
      spec: { allowedNamespaces: { all: null, match: ['nobody-.*'] } },
    });
    await ready('web', 'False', 'NamespaceNotAllowed');
    await eventually(() => expect(nodes(gateway, id('web'))).toEqual([]));
    await work.patch(connectionPath(connection), {
      spec: { allowedNamespaces: { match: ['nobody-.*', 'apps-[a-z0-9]+'] } },
    });
    await ready('web', 'True', 'Ready');
    await eventually(() => expect(nodes(gateway, id('web'))).toHaveLength(1));
  });

  it('writes no key to logs, conditions, Events or other objects', async () => {
    const everything = [
      ...outputs.map((output) => output()),
      JSON.stringify((await cluster.request('GET', '/api/v1/events?limit=5000')).body),
      JSON.stringify(
        (await cluster.request('GET', '/apis/gatewayupstream.dev/v1alpha1/gatewayupstreams')).body,
      ),
      JSON.stringify(
        (await cluster.request('GET', '/apis/gatewayupstream.dev/v1alpha1/gatewayconnections')).body,
      ),
    ].join('\n');
    expect(everything.length).toBeGreaterThan(10_000);
    for (const key of [...keys, token]) {
      expect(key.length).toBeGreaterThan(10);
      expect(everything.includes(key)).toBe(false);
      expect(everything.includes(Buffer.from(key).toString('base64'))).toBe(false);
    }
  });
});
