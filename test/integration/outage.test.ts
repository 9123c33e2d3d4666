import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { hostsOf as hosts, startWholeCluster, type WholeCluster } from '../support/whole-cluster.ts';
import { connectionPath } from '../support/workload.ts';

const COUNT = 200;

describe('an API server outage', () => {
  let gateway: StandIn;
  let cluster: WholeCluster;

  beforeAll(async () => {
    gateway = await startStandIn();
    cluster = await startWholeCluster(gateway, { clusterId: 'cluster-a' });
  });

  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
  });

  it(`does not remove nodes of ${COUNT} upstreams, and the operator follows changes afterwards`, async () => {
    const { work, controlPlane, operator } = cluster;
    for (let n = 0; n < COUNT; n += 1) {
      await work.service(`s${n}`);
      await work.endpoints(`s${n}`, [`10.1.0.${n + 1}`, `10.1.1.${n + 1}`]);
      await work.upstream(`s${n}`, { backends: [{ serviceRef: { name: `s${n}`, port: 80 } }] });
    }
    await eventually(() => expect(gateway.ids('upstreams')).toHaveLength(COUNT));
    await eventually(async () => {
      const table = await controlPlane.kubectl(['-n', 'apps', 'get', 'gwu', '--no-headers']);
      expect(
        table
          .trim()
          .split('\n')
          .filter((line) => /\s2\/2\s+True\s/.test(line)),
      ).toHaveLength(COUNT);
    });

    gateway.clearRequests();
    await controlPlane.apiserver.kill();
    await eventually(async () => expect((await operator.readyz()).text).toContain('['));
    await controlPlane.apiserver.start();
    for (let n = 0; n < COUNT; n += 1) await work.endpoints(`s${n}`, [`10.2.0.${n + 1}`]);
    await eventually(
      () => {
        for (let n = 0; n < COUNT; n += 1) expect(hosts(gateway, `apps.s${n}`)).toEqual([`10.2.0.${n + 1}`]);
      },
      { timeoutMs: 90_000, intervalMs: 250 },
    );
    expect(gateway.requests.filter(({ method }) => method === 'DELETE')).toEqual([]);
    // No PUT removed all nodes from an upstream, or wrote nodes other than the old and new ones.
    for (const { method, body } of gateway.requests) {
      if (method !== 'PUT') continue;
      const { nodes } = JSON.parse(body ?? '{}') as { readonly nodes: readonly { readonly host: string }[] };
      expect(nodes.length).toBeGreaterThan(0);
    }
    // All watches are open: each of these changes arrives by a different one.
    await work.upstream('fresh', { backends: [{ serviceRef: { name: 'fresh', port: 80 } }] });
    await work.service('fresh');
    await work.endpoints('fresh', ['10.3.0.1']);
    await eventually(() => expect(hosts(gateway, 'apps.fresh')).toEqual(['10.3.0.1']), { timeoutMs: 60_000 });
    await work.patch(connectionPath('default'), {
      spec: { allowedNamespaces: { all: null, names: ['elsewhere'] } },
    });
    await eventually(() => expect(hosts(gateway, 'apps.fresh')).toEqual([]), { timeoutMs: 60_000 });
    await work.patch(connectionPath('default'), { spec: { allowedNamespaces: { names: ['apps'] } } });
    await eventually(() => expect(hosts(gateway, 'apps.fresh')).toEqual(['10.3.0.1']));
    await eventually(async () => expect((await operator.readyz()).status).toBe(200));
  });

  it('keeps the upstreams of another cluster on the same gateway', async () => {
    const other = await startWholeCluster(gateway, { clusterId: 'cluster-b' });
    try {
      await other.work.service('s0');
      await other.work.endpoints('s0', ['10.9.0.1']);
      await other.work.upstream('s0', { backends: [{ serviceRef: { name: 's0', port: 80 } }] });
      await other.work.service('own');
      await other.work.endpoints('own', ['10.9.0.2']);
      await other.work.upstream('own', { backends: [{ serviceRef: { name: 'own', port: 80 } }] });
      await eventually(() => expect(hosts(gateway, 'apps.own')).toEqual(['10.9.0.2']));
      const refused = await eventually(async () => {
        const condition = await other.work.condition('s0', 'Ready');
        expect(condition).toMatchObject({ status: 'False', reason: 'NotOwned' });
        return condition;
      });
      expect(refused?.message).toContain('cluster-a');
      expect(hosts(gateway, 'apps.s0')).toEqual(['10.2.0.1']);

      // After several orphan collections, each operator has deleted only its own upstreams.
      const lists = () => gateway.requests.filter(({ path }) => path === '/apisix/admin/upstreams').length;
      const before = lists();
      await eventually(() => expect(lists()).toBeGreaterThan(before + 8), { timeoutMs: 60_000 });
      expect(hosts(gateway, 'apps.own')).toEqual(['10.9.0.2']);
      expect(gateway.ids('upstreams')).toHaveLength(COUNT + 2);
      await other.work.remove(other.work.upstreamPath('s0'));
      await eventually(async () =>
        expect(await other.work.get(other.work.upstreamPath('s0'))).toBeUndefined(),
      );
      expect(hosts(gateway, 'apps.s0')).toEqual(['10.2.0.1']);
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });

  it('keeps an upstream that was orphaned while the gateway was down', async () => {
    const { work } = cluster;
    const lists = () => gateway.requests.filter(({ path }) => path === '/apisix/admin/upstreams').length;
    await gateway.stop();
    await eventually(async () => {
      expect(await work.condition('s3', 'Ready')).toMatchObject({ reason: 'GatewayUnavailable' });
    });
    await work.patch(work.upstreamPath('s3'), { spec: { deletionPolicy: 'Orphan' } });
    await work.remove(work.upstreamPath('s3'));
    await eventually(async () => expect(await work.get(work.upstreamPath('s3'))).toBeUndefined());
    await eventually(async () => {
      expect(await work.get(connectionPath('default'))).toMatchObject({
        status: { leftBehind: ['apps.s3'] },
      });
    });
    await gateway.start();
    const before = lists();
    await eventually(() => expect(lists()).toBeGreaterThan(before + 4), { timeoutMs: 90_000 });
    expect(hosts(gateway, 'apps.s3')).toEqual(['10.2.0.4']);
  });

  it('deletes only the upstream of an object that was removed by force, after two lists', async () => {
    const { work } = cluster;
    const lists = () => gateway.requests.filter(({ path }) => path === '/apisix/admin/upstreams').length;
    await work.patch(work.upstreamPath('s1'), { metadata: { finalizers: null } });
    await eventually(async () => {
      await work.patch(work.upstreamPath('s1'), { metadata: { finalizers: null } }).catch(() => undefined);
      await work.remove(work.upstreamPath('s1'));
      expect(await work.get(work.upstreamPath('s1'))).toBeUndefined();
    });
    const before = lists();
    await eventually(() => expect(gateway.get('upstreams', 'apps.s1')).toBeUndefined(), {
      timeoutMs: 60_000,
    });
    expect(lists()).toBeGreaterThanOrEqual(before);
    expect(gateway.get('upstreams', 'apps.s2')).toBeDefined();
    expect(gateway.get('upstreams', 'apps.own')).toBeDefined();
  });
});
