import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DocStage, pageBlocks } from '../support/registries/doc-stage.ts';
import { EUREKA_USER, EurekaServer } from '../support/registries/eureka-server.ts';

const EXAMPLE_URL = 'http://eureka.example.com:8761/eureka';

/** A reader who sets up Eureka. The steps depend on each other. */
describe('docs/registry-eureka.md', () => {
  const blocks = pageBlocks('registry-eureka.md');
  let stage: DocStage;
  let eureka: EurekaServer;

  beforeAll(async () => {
    eureka = await EurekaServer.start();
    stage = await DocStage.start({});
    await eureka.register('orders', [
      { ip: '10.2.0.1', port: 8080, status: 'UP' },
      { ip: '10.2.0.2', port: 8080, status: 'UP', metadata: { weight: '2' } },
    ]);
  }, 900_000);

  afterAll(async () => {
    await stage?.[Symbol.asyncDispose]();
    await eureka?.[Symbol.asyncDispose]();
  });

  it.each(blocks.map((script, index) => [index + 1, script] as const))('block %i', async (_, script) => {
    const output = await stage.run(script.replaceAll(EXAMPLE_URL, eureka.url.href), {
      EUREKA_USERNAME: EUREKA_USER.username,
      EUREKA_PASSWORD: EUREKA_USER.password,
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

  it('makes a plan with saved instances', async () => {
    const saved = await eureka.application('orders');
    await eureka.register('orders', []);
    const { code, plan } = await stage.plan({ apps: { orders: saved as object } });
    expect(code).toBe(0);
    expect(plan.upstreams).toMatchObject([{ nodes: [] }]);
  });
});
