import { describe, expect, it } from 'vitest';
import { GatewayUnavailableError, UpstreamInUseError } from '../../src/model/errors.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { type StandInOptions, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { createCertificateAuthority } from '../support/control-plane/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { apisixDriver, apisixHarness, askAdminApi } from './apisix-harness.ts';
import { type GatewayHarness, testGatewayDriver } from './gateway-driver.ts';

async function startHarness(options: StandInOptions): Promise<GatewayHarness> {
  const standIn = await startStandIn(options);
  return apisixHarness(standIn, async () => standIn[Symbol.asyncDispose]());
}

testGatewayDriver({
  name: 'The APISIX driver on 3.18',
  create: () => startHarness({}),
  keepsBackendMarks: true,
});

testGatewayDriver({
  name: 'The APISIX driver on 3.13, which stores defaults,',
  create: () => startHarness({ version: '3.13.0', storesDefaults: true }),
  keepsBackendMarks: true,
});

testGatewayDriver({
  name: 'The APISIX driver over TLS with client certificates',
  keepsBackendMarks: true,
  randomUpstreams: 50,
  mostUpstreams: 100,
  async create() {
    const authority = createCertificateAuthority();
    const server = authority.issue({ commonName: 'apisix', hosts: ['apisix.test'], usage: 'server' });
    const client = authority.issue({ commonName: 'operator', hosts: [], usage: 'client' });
    const standIn = await startStandIn({
      tls: { key: server.keyPem, cert: server.certPem, clientCa: authority.certPem },
    });
    const tls = {
      ca: authority.certPem,
      clientCert: client.certPem,
      clientKey: client.keyPem,
      serverName: 'apisix.test',
      insecureSkipVerify: false,
    };
    const { adminUrl, adminKey } = standIn;
    return apisixHarness({ adminUrl, adminKey, tls }, async () => standIn[Symbol.asyncDispose]());
  },
});

describe('the APISIX driver', () => {
  const unused = new AbortController().signal;
  const respect = { references: 'respect' } as const;
  const upstream: Upstream = {
    id: 'u1',
    labels: { a: 'b' },
    nodes: [{ host: '10.0.0.1', port: 80, weight: 1, priority: 0 }],
    scheme: 'HTTP',
    loadBalancing: { type: 'RoundRobin' },
  };

  it('sends only the required requests', async () => {
    await using standIn = await startStandIn();
    const driver = apisixDriver(standIn);
    await driver.put(upstream, unused);
    await driver.get('u1', unused);
    await driver.list(unused);
    await driver.check(unused);
    await driver.putNodes('u1', [], unused);
    await driver.delete('u1', respect, unused);
    await driver.delete('u1', { references: 'ignore' }, unused);
    expect(standIn.requests.map(({ method, path, status }) => `${method} ${path} ${status}`)).toEqual([
      'PUT /apisix/admin/upstreams/u1 201',
      'GET /apisix/admin/upstreams/u1 200',
      'GET /apisix/admin/upstreams 200',
      'GET /apisix/admin/upstreams?page=1&page_size=10 200',
      'PATCH /apisix/admin/upstreams/u1/nodes 200',
      'GET /apisix/admin/stream_routes 200',
      'DELETE /apisix/admin/upstreams/u1 200',
      'DELETE /apisix/admin/upstreams/u1?force=true 404',
    ]);
  });

  it('reports a concurrent write of another client', async () => {
    await using standIn = await startStandIn();
    const driver = apisixDriver(standIn);
    await driver.put(upstream, unused);
    using _overtaken = standIn.addFault({
      fault: { kind: 'answer', status: 503, body: '{"error_msg":"value changed before overwritten"}' },
    });
    const overtaken = driver.putNodes('u1', [], unused);
    await expect(overtaken).rejects.toThrow(GatewayUnavailableError);
    await expect(overtaken).rejects.toThrow(
      'Another client changed the upstream in the gateway at the same time',
    );
  });

  it('reports the discovery of an upstream that finds its nodes by discovery', async () => {
    await using standIn = await startStandIn();
    standIn.put('upstreams', 'k8s', { service_name: 'a/b:c', discovery_type: 'kubernetes' });
    standIn.put('upstreams', 'nacos', { service_name: 'x', discovery_type: 'nacos', discovery_args: {} });
    standIn.put('upstreams', 'plain', { nodes: [] });
    const { upstreams } = await apisixDriver(standIn).list(unused);
    expect([...upstreams].map(([id, { discovery }]) => [id, discovery])).toEqual([
      ['k8s', { by: 'Kubernetes', fields: ['discovery_type', 'service_name'] }],
      ['nacos', { by: 'Registry', fields: ['discovery_args', 'discovery_type', 'service_name'] }],
      ['plain', undefined],
    ]);
  });

  it('sends no request for an invalid id', async () => {
    await using standIn = await startStandIn();
    const driver = apisixDriver(standIn);
    for (const id of ['..', 'a/b', '']) {
      for (const references of ['respect', 'ignore'] as const) {
        await expect(driver.delete(id, { references }, unused)).rejects.toThrow('is not a valid upstream id');
      }
      await expect(driver.put({ ...upstream, id }, unused)).rejects.toThrow('is not a valid upstream id');
      await expect(driver.get(id, unused)).rejects.toThrow('is not a valid upstream id');
    }
    expect(standIn.requests).toHaveLength(0);
  });

  it.each(['3.18.0', '3.5.0'])('reads version %s from the responses', async (version) => {
    await using standIn = await startStandIn({ version });
    const driver = apisixDriver(standIn);
    expect(await driver.check(unused)).toEqual({ version });
    expect((await driver.list(unused)).info).toEqual({ version });
  });

  it('works without a version if a proxy hides it', async () => {
    await using standIn = await startStandIn();
    standIn.addFault({
      fault: { kind: 'answer', status: 200, body: '{"list":{},"total":0}', headers: { server: 'nginx' } },
    });
    const driver = apisixDriver(standIn);
    expect(await driver.check(unused)).toEqual({});
    expect(await driver.list(unused)).toEqual({ upstreams: new Map(), info: {} });
  });

  it('lists upstreams that it does not understand, and all others', async () => {
    await using standIn = await startStandIn();
    const values: readonly (readonly [id: string, item: object])[] = [
      ['plain', { value: { id: 'plain', nodes: [{ host: 'b', weight: 2 }], labels: { a: 'b', n: 1 } } }],
      ['42', { value: { id: 42, nodes: { '[::1]:81': 3, 'a:80': 1, bare: 2 } } }],
      [
        'from-key',
        { key: '/apisix/upstreams/from-key', value: { service_name: 's', discovery_type: 'dns' } },
      ],
      ['text-nodes', { value: { id: 'text-nodes', nodes: 'a:1' } }],
      ['odd-nodes', { value: { id: 'odd-nodes', nodes: [null, 'x', { host: 5, weight: '7' }] } }],
      ['junk', { key: '/apisix/upstreams/junk', value: 'junk in the store' }],
    ];
    standIn.addFault({
      fault: {
        kind: 'answer',
        status: 200,
        body: JSON.stringify({ list: values.map(([, item]) => item), total: values.length }),
      },
    });
    const { upstreams } = await apisixDriver(standIn).list(unused);
    expect([...upstreams.keys()]).toEqual(values.map(([id]) => id));
    expect(upstreams.get('plain')).toMatchObject({
      labels: { a: 'b' },
      nodes: [{ host: 'b', port: 80, weight: 2, priority: 0 }],
    });
    expect(upstreams.get('42')?.nodes).toEqual([
      { host: '::1', port: 81, weight: 3, priority: 0 },
      { host: 'a', port: 80, weight: 1, priority: 0 },
      { host: 'bare', port: 80, weight: 2, priority: 0 },
    ]);
    const kept: readonly (readonly [id: string, fragment: string])[] = [
      ['from-key', '"discovery_type":"dns","service_name":"s"'],
      ['text-nodes', '"nodes":"a:1"'],
      ['odd-nodes', '"weight":"7"'],
      ['junk', 'junk in the store'],
    ];
    for (const [id, fragment] of kept) expect(upstreams.get(id)?.canonical).toContain(fragment);
  });

  it.each([
    ['an item without id and key', { list: [{ value: {} }] }],
    ['an invalid item', { list: [null] }],
    ['a list that is an object', { list: { a: { value: { id: 'a' } } } }],
    ['no list', { total: 0 }],
    ['an empty page although objects exist', { list: {}, total: 3 }],
    ['a part of a list', { list: [{ value: { id: 'a' } }], total: 2 }],
    ['a list without a total', { list: [] }],
    ['the list of Admin API v2', { node: { nodes: [] } }],
    ['null', null],
    ['an array', []],
  ])('treats %s as unknown, not as empty', async (_, body) => {
    await using standIn = await startStandIn();
    standIn.addFault({ fault: { kind: 'answer', status: 200, body: JSON.stringify(body) } });
    const driver = apisixDriver(standIn);
    await expect(driver.list(unused)).rejects.toThrow(GatewayUnavailableError);
  });

  it.each([
    ['invalid nodes', JSON.stringify({ value: { id: 'u1', nodes: 'none' } })],
    ['null nodes', JSON.stringify({ value: { id: 'u1', nodes: null } })],
    [
      'a value that is nested too deeply',
      `{"value":{"id":"u1","deep":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`,
    ],
  ])('treats %s as unknown, not as no nodes', async (_, body) => {
    await using standIn = await startStandIn();
    standIn.addFault({ fault: { kind: 'answer', status: 200, body } });
    await expect(apisixDriver(standIn).get('u1', unused)).rejects.toThrow(GatewayUnavailableError);
  });

  describe('reads stream routes before a deletion', () => {
    it('and keeps an upstream that one of them refers to', async () => {
      await using standIn = await startStandIn();
      const driver = apisixDriver(standIn);
      await driver.put(upstream, unused);
      await driver.put({ ...upstream, id: 'undefined' }, unused);
      expect(await askAdminApi(standIn, 'PUT', 'stream_routes/s0', { server_port: 9000, plugins: {} })).toBe(
        201,
      );
      expect(await askAdminApi(standIn, 'PUT', 'stream_routes/s1', { upstream_id: 'u1' })).toBe(201);
      standIn.clearRequests();
      const deletion = driver.delete('u1', respect, unused);
      await expect(deletion).rejects.toThrow(UpstreamInUseError);
      await expect(deletion).rejects.toThrow('stream_route [s1] is still using it now');
      expect(standIn.requests.some(({ method }) => method === 'DELETE')).toBe(false);
      await driver.delete('undefined', respect, unused);
      await driver.delete('u1', { references: 'ignore' }, unused);
      await driver.delete('u1', respect, unused);
      expect(standIn.ids('upstreams')).toEqual([]);
    });

    it.each([
      [400, '{"error_msg":"stream mode is disabled, can not add stream routes"}'],
      [404, '{"error_msg":"Unsupported resource type: stream_routes"}'],
    ])('and treats APISIX without stream proxy (%i) as having no stream routes', async (status, body) => {
      await using standIn = await startStandIn();
      const driver = apisixDriver(standIn);
      await driver.put(upstream, unused);
      standIn.addFault({
        fault: { kind: 'answer', status, body },
        match: ({ path }) => path.includes('stream_routes'),
      });
      await driver.delete('u1', respect, unused);
      expect(standIn.ids('upstreams')).toEqual([]);
    });

    it.each([
      [404, '<html>404</html>'],
      [404, '{"message":"no such page"}'],
      [400, 'bad request'],
      [500, '{"error_msg":"etcd"}'],
      [200, '{}'],
    ])('and keeps the upstream if they cannot be read (%i %s)', async (status, body) => {
      await using standIn = await startStandIn();
      const driver = apisixDriver(standIn);
      await driver.put(upstream, unused);
      standIn.addFault({
        fault: { kind: 'answer', status, body },
        match: ({ path }) => path.includes('stream_routes'),
      });
      await expect(driver.delete('u1', respect, unused)).rejects.toThrow(GatewayUnavailableError);
      expect(standIn.ids('upstreams')).toEqual(['u1']);
    });
  });

  it('stops hanging requests when their signal aborts', async () => {
    await using standIn = await startStandIn();
    standIn.addFault({ fault: { kind: 'hang' } });
    const driver = apisixDriver(standIn);
    const controller = new AbortController();
    const pending = driver.put(upstream, controller.signal);
    await eventually(() => expect(standIn.requests).toHaveLength(1));
    const reason = new Error('the operator stops');
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
    await eventually(() => expect(standIn.openConnections()).toBe(0));
  });

  it('limits connections, keeps them open, and closes them with the driver', async () => {
    await using standIn = await startStandIn();
    const driver = apisixDriver({ adminUrl: standIn.adminUrl, adminKey: standIn.adminKey, concurrency: 3 });
    const hang = standIn.addFault({ fault: { kind: 'hang' }, times: 3 });
    const hanging = Array.from({ length: 3 }, () => driver.check(unused));
    await eventually(() => expect(standIn.requests).toHaveLength(3));
    const waiting = Array.from({ length: 20 }, (_, index) =>
      driver.put({ ...upstream, id: `u${index}` }, unused),
    );
    expect(standIn.requests).toHaveLength(3);
    expect(standIn.openConnections()).toBe(3);
    hang[Symbol.dispose]();
    const outcomes = await Promise.allSettled(hanging);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await Promise.all(waiting);
    expect(standIn.openConnections()).toBeGreaterThan(0);
    expect(standIn.openConnections()).toBeLessThanOrEqual(3);

    const delayed = standIn.addFault({ fault: { kind: 'delay', delayMs: 200 }, times: 1 });
    const underWay = driver.check(unused);
    await eventually(() => expect(standIn.requests).toHaveLength(24));
    driver.close();
    expect(await underWay).toEqual({ version: '3.18.0' });
    delayed[Symbol.dispose]();
    await eventually(() => expect(standIn.openConnections()).toBe(0));
  });
});
