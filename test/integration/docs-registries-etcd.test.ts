import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DocStage, pageBlocks } from '../support/registries/doc-stage.ts';
import { ETCD_ROOT, EtcdServer } from '../support/registries/etcd-server.ts';
import { ensureEtcdctl } from '../support/registries/etcdctl.ts';

const EXAMPLE_URL = 'http://etcd.example.com:2379';

/** A reader who sets up etcd. The steps depend on each other. */
describe('docs/registry-etcd.md', () => {
  const blocks = pageBlocks('registry-etcd.md');
  let stage: DocStage;
  let etcd: EtcdServer;

  beforeAll(async () => {
    etcd = await EtcdServer.start();
    stage = await DocStage.start({ etcdctl: await ensureEtcdctl() });
    await etcd.put('/services/orders/1', JSON.stringify({ address: '10.2.0.1', port: 8080 }));
    await etcd.put('/services/orders/2', JSON.stringify({ address: '10.2.0.2', port: 8080, weight: 2 }));
    await etcd.put('/services/orders/3', '10.2.0.3:8080');
    await etcd.put('/services/orders-canary/1', JSON.stringify({ address: '10.2.0.4', port: 8080 }));
  }, 900_000);

  afterAll(async () => {
    await stage?.[Symbol.asyncDispose]();
    await etcd?.[Symbol.asyncDispose]();
  });

  it.each(blocks.map((script, index) => [index + 1, script] as const))('block %i', async (_, script) => {
    const output = await stage.run(script.replaceAll(EXAMPLE_URL, etcd.url.origin), {
      ETCDCTL_ENDPOINTS: etcd.url.origin,
      ETCDCTL_USER: `${ETCD_ROOT.name}:${ETCD_ROOT.password}`,
      OPERATOR_PASSWORD: 'password-of-the-operator',
    });
    expect(output).not.toBe('');
  });

  it('leads to an upstream with the instances, and their weights in proportion', () => {
    const nodes = (stage.gateway.get('upstreams', 'default.orders')?.['nodes'] ?? []) as readonly object[];
    expect(nodes).toHaveLength(2);
    expect(nodes).toMatchObject([
      { host: '10.2.0.1', port: 8080, weight: 1 },
      { host: '10.2.0.2', port: 8080, weight: 2 },
    ]);
  });

  it('makes a plan with the saved output of etcdctl', async () => {
    const env = {
      ETCDCTL_ENDPOINTS: etcd.url.origin,
      ETCDCTL_USER: `${ETCD_ROOT.name}:${ETCD_ROOT.password}`,
    };
    const saved = await stage.run('etcdctl get --prefix /services/orders/ -w json', env);
    await etcd.replace('/services/orders/', new Map());
    const { code, plan } = await stage.plan({ instances: { orders: JSON.parse(saved) as object } });
    expect(code).toBe(0);
    // No node changes: the plan uses the saved instances.
    expect(plan.upstreams).toMatchObject([{ nodes: [] }]);
  });
});
