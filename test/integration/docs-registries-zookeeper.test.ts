import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DocStage, pageBlocks } from '../support/registries/doc-stage.ts';
import {
  curatorData,
  ensureZooKeeper,
  ZOOKEEPER_READER,
  ZooKeeperServer,
} from '../support/registries/zookeeper-server.ts';

const EXAMPLE = 'zookeeper.example.com:2181';

/** A reader who sets up ZooKeeper. The steps depend on each other. */
describe('docs/registry-zookeeper.md', () => {
  const blocks = pageBlocks('registry-zookeeper.md');
  let programs: string;
  let stage: DocStage;
  let zookeeper: ZooKeeperServer;

  beforeAll(async () => {
    zookeeper = await ZooKeeperServer.start();
    programs = await mkdtemp(join(tmpdir(), 'gwu-zkcli-'));
    const zkCli = join(programs, 'zkCli.sh');
    const command = `exec /usr/bin/java -Xmx64m -cp '${await ensureZooKeeper()}/*' org.apache.zookeeper.ZooKeeperMain "$@"`;
    await writeFile(zkCli, `#!/bin/sh\n${command}\n`, { mode: 0o755 });
    stage = await DocStage.start({ 'zkCli.sh': zkCli });
    await zookeeper.writer.replace(
      '/services/orders',
      new Map([
        ['a', curatorData('orders', { address: '10.2.0.1' })],
        ['b', curatorData('orders', { address: '10.2.0.2', metadata: { weight: '2' } })],
      ]),
    );
  }, 900_000);

  afterAll(async () => {
    await stage?.[Symbol.asyncDispose]();
    await zookeeper?.[Symbol.asyncDispose]();
    await rm(programs, { recursive: true, force: true });
  });

  it.each(blocks.map((script, index) => [index + 1, script] as const))('block %i', async (_, script) => {
    const output = await stage.run(script.replaceAll(EXAMPLE, zookeeper.address), {
      ZOOKEEPER_USERNAME: ZOOKEEPER_READER.username,
      ZOOKEEPER_PASSWORD: ZOOKEEPER_READER.password,
    });
    expect(output).not.toBe('');
    if (script.includes('zkCli.sh')) expect(output).toContain('/services/orders/b');
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
    const saved = ['a', 'b'].map((name) => `/services/orders/${name}`);
    const instances = await Promise.all(saved.map((path) => zookeeper.writer.data(path)));
    await zookeeper.writer.replace('/services/orders', new Map());
    const { code, plan } = await stage.plan({
      zookeeper: { orders: instances.map((text) => JSON.parse(text) as unknown) },
    });
    expect(code).toBe(0);
    expect(plan.upstreams).toMatchObject([{ nodes: [] }]);
  });
});
