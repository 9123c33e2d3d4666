import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Plan } from '../../src/cli/plan/planned.ts';
import { ensureConsul } from '../support/registries/consul-binary.ts';
import { ConsulServer, MANAGEMENT_TOKEN } from '../support/registries/consul-server.ts';
import { DocStage, pageBlocks } from '../support/registries/doc-stage.ts';

const EXAMPLE_URL = 'http://consul.example.com:8500';

/** A reader who sets up Consul, and then moves an upstream that APISIX discovers there. The steps depend on each other. */
describe('the pages about Consul', () => {
  const setUp = pageBlocks('registry-consul.md');
  const moving = pageBlocks('moving-from-apisix-discovery.md');
  const planning = pageBlocks('plan.md');
  let stage: DocStage;
  let consul: ConsulServer;

  const run = (script: string) =>
    stage.run(script.replaceAll(EXAMPLE_URL, consul.url.origin), {
      CONSUL_HTTP_ADDR: consul.url.origin,
      CONSUL_HTTP_TOKEN: MANAGEMENT_TOKEN,
    });

  beforeAll(async () => {
    consul = await ConsulServer.start({ acl: true });
    stage = await DocStage.start({ consul: await ensureConsul() });
    await consul.register(
      'orders',
      ['10.1.0.1', '10.1.0.2'].map((address) => ({
        id: `orders-${address}`,
        address,
        port: 8080,
        status: 'passing',
      })),
    );
  }, 900_000);

  afterAll(async () => {
    await stage?.[Symbol.asyncDispose]();
    await consul?.[Symbol.asyncDispose]();
  });

  it.each(setUp.map((script, index) => [index + 1, script] as const))(
    'docs/registry-consul.md, block %i',
    async (_, script) => {
      expect(await run(script)).not.toBe('');
    },
  );

  it('writes the instances in Consul to the upstream', () => {
    expect(stage.gateway.get('upstreams', 'default.orders')?.['nodes']).toMatchObject([
      { host: '10.1.0.1', port: 8080, weight: 1 },
      { host: '10.1.0.2', port: 8080, weight: 1 },
    ]);
  });

  it.each(planning.map((script, index) => [index + 1, script] as const))(
    'docs/plan.md, block %i: a plan with saved instances is empty',
    async (_, script) => {
      expect(await run(script)).toBe('Plan: 0 to create, 0 to update, 0 to delete, 1 unchanged.\n');
    },
  );

  it('makes an empty plan from the answers of Consul, with the permissions of the operator', async () => {
    const { code, plan } = await stage.plan();
    expect(plan.registries).toEqual([{ registry: 'vms', known: true }]);
    expect(plan.summary).toMatchObject({ none: 1, unknown: 0, problems: 0 });
    expect(code).toBe(0);
  });

  it('shows the effect of other saved instances', async () => {
    const file = join(stage.programs, 'registries.json');
    const state = JSON.parse(await readFile(file, 'utf8')) as { vms: { orders: object[] } };
    state.vms.orders.pop();
    const { code, plan } = await stage.plan(state);
    expect(code).toBe(2);
    expect(plan.upstreams).toMatchObject([{ nodes: [{ kind: 'remove', node: { host: '10.1.0.2' } }] }]);
  });

  describe('docs/moving-from-apisix-discovery.md', () => {
    beforeAll(async () => {
      await run('kubectl delete gatewayupstream orders --wait');
      await stage.admin('upstreams/orders', {
        service_name: 'orders',
        discovery_type: 'consul',
        type: 'roundrobin',
        retries: 1,
      });
      await stage.admin('routes/r1', { uri: '/orders', upstream_id: 'orders' });
    });

    const outputs = new Map<number, string>();
    it.each(moving.map((script, index) => [index + 1, script] as const))(
      'block %i',
      async (index, script) => {
        const output = await run(script);
        expect(output).not.toBe('');
        outputs.set(index, output);
      },
    );

    it('shows the generated object and the plan', async () => {
      const page = await readFile(
        new URL('../../docs/moving-from-apisix-discovery.md', import.meta.url),
        'utf8',
      );
      expect(page).toContain(`\`\`\`yaml\n${outputs.get(3)}\`\`\``);
      const shown = /^```text\n(.*?)^```$/ms.exec(page)?.[1];
      expect(outputs.get(4)).toContain(shown);
    });

    it('leaves an upstream with nodes, which the route still uses', () => {
      const upstream = stage.gateway.get('upstreams', 'orders');
      expect(upstream).toMatchObject({
        nodes: [{ host: '10.1.0.1' }, { host: '10.1.0.2' }],
        retries: 1,
        labels: { 'gatewayupstream.dev/name': 'orders' },
      });
      expect(upstream).not.toHaveProperty('service_name');
      expect(upstream).not.toHaveProperty('discovery_type');
      expect(stage.gateway.get('routes', 'r1')).toMatchObject({ upstream_id: 'orders' });
    });

    it('follows Consul afterwards', async () => {
      await consul.register('orders', [
        { id: 'orders-10.1.0.1', address: '10.1.0.1', port: 8080, status: 'passing' },
        { id: 'orders-10.1.0.2', address: '10.1.0.2', port: 8080, status: 'passing' },
        { id: 'orders-10.1.0.3', address: '10.1.0.3', port: 9090, status: 'passing' },
      ]);
      await stage.shows('orders', ['10.1.0.1:8080', '10.1.0.2:8080', '10.1.0.3:9090']);
    });
  });

  it('makes an incomplete plan while Consul is down, and needs no Consul for a plan with saved instances', async () => {
    await consul.kill();
    const { code, plan }: { code: number | null; plan: Plan } = await stage.plan();
    expect(code).toBe(1);
    expect(plan.upstreams).toMatchObject([{ action: 'Unknown', nodes: [] }]);
    expect(plan.registries).toMatchObject([{ registry: 'vms', known: false }]);
    const saved = await stage.plan({ vms: { orders: [] } });
    expect(saved.code).not.toBe(1);
  });
});
