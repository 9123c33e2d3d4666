import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { codeBlock } from '../support/code-block.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { createSet, heldOf, setOf, setPath, settled } from '../support/sets.ts';
import { conditionOf, createWorkload, GROUP_PATH, type Workload, writeSecret } from '../support/workload.ts';

describe('GatewayUpstreamSet', () => {
  let cluster: ControlPlane;
  let gateway: StandIn;
  let work: Workload;
  let operator: Operator;
  let operatorNamespace: string;
  let token: string;

  const start = async () => {
    operator = await startOperator(cluster, operatorNamespace, token, { logLevel: 'info' });
    await operator.ready();
  };
  const idsOf = (namespace: string) =>
    gateway
      .ids('upstreams')
      .filter((id) => id.startsWith(`${namespace}.`))
      .toSorted();

  beforeAll(async () => {
    cluster = await startControlPlane();
    gateway = await startStandIn();
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, operatorNamespace);
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    work = createWorkload(cluster, await cluster.newNamespace('shop'));
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await start();
  });

  afterAll(async () => {
    await operator[Symbol.asyncDispose]();
    await cluster.close();
    await gateway[Symbol.asyncDispose]();
  });

  it('is accepted as shown in docs/sets.md, and needs a name that is a valid label', async () => {
    const input = codeBlock('sets.md', 'yaml');
    await cluster.kubectl(['apply', '--server-side', '--dry-run=server', '-f', '-'], { input });
    const long = input.replace('name: public', `name: ${'p'.repeat(64)}`);
    await expect(
      cluster.kubectl(['apply', '--server-side', '--dry-run=server', '-f', '-'], { input: long }),
    ).rejects.toThrow('the name must have at most 63 characters');
    const owned = input.replace('made-by: platform', 'gatewayupstream.dev/set: other');
    await expect(
      cluster.kubectl(['apply', '--server-side', '--dry-run=server', '-f', '-'], { input: owned }),
    ).rejects.toThrow('labels must not have keys that start with gatewayupstream.dev/');
  });

  it('reports members that it cannot create, and does not change foreign objects', async () => {
    const { namespace } = work;
    for (const [name, port] of [
      ['a', 'b-c'],
      ['a-b', 'c'],
      ['web', 'http'],
      ['taken', 'http'],
    ] as const) {
      await work.service(name, [{ name: port, port: 80 }]);
    }
    await work.create(`/api/v1/namespaces/${namespace}/services`, {
      metadata: { name: 'outside' },
      spec: { type: 'ExternalName', externalName: 'example.com' },
    });
    await work.upstream('taken-http', { backends: [{ serviceRef: { name: 'web', port: 80 } }] });
    await createSet(work, 'shop', {
      namespaceSelector: { names: [namespace] },
      template: { metadata: { labels: { team: 'shop' } }, spec: { retries: 2 } },
    });
    await eventually(async () => {
      expect(conditionOf(await setOf(work, 'shop'), 'Ready')).toMatchObject({
        status: 'False',
        reason: 'NameTaken',
      });
      expect((await setOf(work, 'shop')).status.problems).toEqual([
        { service: `${namespace}/a-b`, port: 'c', reason: 'NameCollision' },
        { service: `${namespace}/outside`, reason: 'ExternalName' },
        { service: `${namespace}/taken`, port: 'http', reason: 'NameTaken' },
      ]);
    });
    await eventually(() => {
      expect(idsOf(namespace)).toEqual([
        `${namespace}.a-b-c`,
        expect.stringMatching(/\.a-b-c-[0-9a-f]{8}$/),
        `${namespace}.taken-http`,
        `${namespace}.web-http`,
      ]);
    });
    expect(await work.get(work.upstreamPath('taken-http'))).toMatchObject({
      spec: { backends: [{ serviceRef: { name: 'web' } }] },
    });
    await work.remove(work.upstreamPath('taken-http'));
    await settled(work, 'shop', { services: 5, ports: 4, upstreams: 4 });
    expect(await work.get(work.upstreamPath('taken-http'))).toMatchObject({
      metadata: { labels: { team: 'shop', 'gatewayupstream.dev/set': 'shop' } },
      spec: { retries: 2, backends: [{ serviceRef: { name: 'taken', port: 'http' } }] },
    });
  });

  it('restores changed and deleted members', async () => {
    const retries = async () => {
      const object = (await work.get(work.upstreamPath('web-http'))) as {
        readonly spec?: { readonly retries?: number };
      };
      return object?.spec?.retries;
    };
    await work.patch(work.upstreamPath('web-http'), { spec: { retries: 7 } });
    await eventually(async () => expect(await retries()).toBe(2));
    await work.remove(work.upstreamPath('web-http'));
    await eventually(async () => {
      expect(await work.get(work.upstreamPath('web-http'))).not.toHaveProperty('metadata.deletionTimestamp');
    });
    expect(await retries()).toBe(2);
    await expect(
      work.patch(setPath('shop'), { spec: { template: { spec: { connectionRef: { name: 'other' } } } } }),
    ).rejects.toThrow('422');
    await work.patch(setPath('shop'), { spec: { template: { metadata: null, spec: { retries: null } } } });
    await eventually(async () => {
      const object = await work.get(work.upstreamPath('web-http'));
      expect(object).not.toHaveProperty('spec.retries');
      expect(object).not.toHaveProperty('metadata.labels.team');
      expect(object).toHaveProperty('metadata.name', 'web-http');
    });
  });

  it('keeps guarding after a restart, and prunes nothing after the selector is corrected', async () => {
    await settled(work, 'shop', { upstreams: 4 });
    // The status counts objects. The gateway may still lack the upstream of the recreated one.
    const before = await eventually(() => {
      const ids = idsOf(work.namespace);
      expect(ids).toHaveLength(4);
      return ids;
    });
    await operator.stop();
    await work.patch(setPath('shop'), { spec: { namespaceSelector: { names: ['somewhere-else'] } } });
    await start();
    await eventually(async () => expect((await setOf(work, 'shop')).status.pruning).toEqual({ waiting: 4 }));
    const since = (await heldOf(work, 'shop'))?.lastTransitionTime;
    await operator.stop();
    await start();
    await eventually(async () => expect((await setOf(work, 'shop')).status.pruning).toEqual({ waiting: 4 }));
    expect((await heldOf(work, 'shop'))?.lastTransitionTime).toBe(since);
    await work.patch(setPath('shop'), { spec: { namespaceSelector: { names: [work.namespace] } } });
    await eventually(async () => expect(await heldOf(work, 'shop')).toBeUndefined());
    expect(idsOf(work.namespace)).toEqual(before);
  });

  it('deletes a member with its Service, and all members with the set', async () => {
    for (const name of ['a', 'a-b'])
      await work.remove(`/api/v1/namespaces/${work.namespace}/services/${name}`);
    await eventually(() => {
      expect(idsOf(work.namespace)).toEqual([`${work.namespace}.taken-http`, `${work.namespace}.web-http`]);
    });
    await cluster.kubectl(['delete', '--wait', 'gwus', 'shop']);
    await eventually(() => expect(idsOf(work.namespace)).toEqual([]));
    await eventually(async () => {
      const { body } = await cluster.request('GET', `${GROUP_PATH}/gatewayupstreams`);
      expect((body as { readonly items: readonly object[] }).items).toEqual([]);
    });
  });
});
