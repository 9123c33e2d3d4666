import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { hostsOf, startWholeCluster } from '../support/whole-cluster.ts';
import { conditionOf, type Workload } from '../support/workload.ts';

/** The watchdog closes a silent watch after 90 s. Then the list shows the restored state. */
const PATIENT = { timeoutMs: 240_000, intervalMs: 250 };

async function follow(work: Workload, name: string, hosts: readonly string[]): Promise<void> {
  await work.service(name);
  await work.endpoints(name, hosts);
  await work.upstream(name, { backends: [{ serviceRef: { name, port: 80 } }] });
}

/** The ids of upstreams that were written without nodes. */
const emptied = (gateway: StandIn) =>
  gateway.requests.flatMap(({ method, path, body }) => {
    if (method !== 'PUT') return [];
    const { nodes } = JSON.parse(body ?? '{}') as { readonly nodes: readonly unknown[] };
    return nodes.length === 0 ? [path.split('/').at(-1)] : [];
  });

const uidOf = async (work: Workload, name: string) =>
  ((await work.get(work.upstreamPath(name)))?.['metadata'] as { readonly uid: string } | undefined)?.uid;

describe('a restored cluster', () => {
  it('changes upstreams to the restored state of etcd under a running operator, and empties none', async () => {
    await using gateway = await startStandIn();
    // Without a Lease, the operator survives the restore. An operator that restarts lists anyway.
    const leaderElection = { enabled: false };
    await using cluster = await startWholeCluster(gateway, { clusterId: 'restored', leaderElection });
    const { controlPlane, operator, work } = cluster;
    const data = join(controlPlane.dir, 'etcd');
    const backup = join(controlPlane.dir, 'etcd-backup');
    const down = async () => {
      await controlPlane.apiserver.kill();
      await controlPlane.etcd.stop();
    };
    const up = async () => {
      await controlPlane.etcd.start();
      await controlPlane.apiserver.start();
    };

    await follow(work, 'kept', ['10.1.0.1', '10.1.0.2']);
    await follow(work, 'moved', ['10.1.1.1', '10.1.1.2']);
    await follow(work, 'deleted', ['10.1.2.1']);
    await eventually(() => expect(gateway.ids('upstreams')).toHaveLength(3));
    await eventually(async () => {
      for (const name of ['kept', 'moved', 'deleted'])
        expect(await work.condition(name, 'Ready')).toMatchObject({ status: 'True' });
    });
    await down();
    await cp(data, backup, { recursive: true });
    await up();

    // Many changes later, everything except `kept` differs.
    for (let last = 1; last <= 100; last += 1) await work.endpoints('moved', ['10.1.1.2', `10.2.1.${last}`]);
    await work.remove(work.upstreamPath('deleted'));
    await follow(work, 'made', ['10.2.3.1']);
    await eventually(() => {
      expect(hostsOf(gateway, 'apps.moved')).toEqual(['10.1.1.2', '10.2.1.100']);
      expect(gateway.get('upstreams', 'apps.deleted')).toBeUndefined();
      expect(hostsOf(gateway, 'apps.made')).toEqual(['10.2.3.1']);
    }, PATIENT);

    await down();
    await rm(data, { recursive: true });
    await cp(backup, data, { recursive: true });
    gateway.clearRequests();
    await up();
    await eventually(() => {
      expect(hostsOf(gateway, 'apps.kept')).toEqual(['10.1.0.1', '10.1.0.2']);
      expect(hostsOf(gateway, 'apps.moved')).toEqual(['10.1.1.1', '10.1.1.2']);
      expect(hostsOf(gateway, 'apps.deleted')).toEqual(['10.1.2.1']);
      // The backup does not contain its object, so the upstream is an orphan.
      expect(gateway.get('upstreams', 'apps.made')).toBeUndefined();
    }, PATIENT);
    // The operator may list the restored Service before the restored object, and remove all nodes first.
    expect(emptied(gateway).filter((id) => id !== 'apps.made')).toEqual([]);
    expect(gateway.requests.filter(({ method }) => method === 'DELETE').map(({ path }) => path)).toEqual([
      '/apisix/admin/upstreams/apps.made',
    ]);

    // The open watches now belong to the restored state.
    await work.endpoints('kept', ['10.3.0.1', '10.3.0.2']);
    await eventually(() => expect(hostsOf(gateway, 'apps.kept')).toEqual(['10.3.0.1', '10.3.0.2']), PATIENT);
    await eventually(async () => {
      for (const name of ['kept', 'moved', 'deleted'])
        expect(await work.condition(name, 'Ready')).toMatchObject({ status: 'True' });
    }, PATIENT);
    expect(operator.process.exitCode).toBeNull();
  }, 600_000);

  it('takes over its upstreams without a write if it is recreated from manifests with the same clusterId', async () => {
    await using gateway = await startStandIn();
    const options = { clusterId: 'rebuilt' };
    const before = await startWholeCluster(gateway, options);
    let uid: string | undefined;
    try {
      await follow(before.work, 'web', ['10.1.0.1', '10.1.0.2']);
      await eventually(async () =>
        expect(await before.work.condition('web', 'Ready')).toMatchObject({ status: 'True' }),
      );
      uid = await uidOf(before.work, 'web');
      expect(await before.operator.stop()).toBe(0);
    } finally {
      await before[Symbol.asyncDispose]();
    }
    const held = gateway.get('upstreams', 'apps.web');
    gateway.clearRequests();
    await using after = await startWholeCluster(gateway, options, (work) =>
      follow(work, 'web', ['10.1.0.1', '10.1.0.2']),
    );
    await eventually(async () => {
      const object = await after.work.get(after.work.upstreamPath('web'));
      expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'True' });
    });
    expect(uid).toBeDefined();
    expect(await uidOf(after.work, 'web')).not.toBe(uid);
    expect(gateway.get('upstreams', 'apps.web')).toEqual(held);
    expect(gateway.requests.filter(({ method }) => method !== 'GET')).toEqual([]);

    await after.work.endpoints('web', ['10.1.0.3', '10.1.0.2']);
    await eventually(() => expect(hostsOf(gateway, 'apps.web')).toEqual(['10.1.0.3', '10.1.0.2'].sort()));
    await after.work.remove(after.work.upstreamPath('web'));
    await eventually(() => expect(gateway.ids('upstreams')).toEqual([]));
  }, 300_000);
});
