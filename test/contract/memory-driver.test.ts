import { expect, it } from 'vitest';
import { createMemoryDriver } from '../support/memory-gateway.ts';
import { testGatewayDriver } from './gateway-driver.ts';

const unused = new AbortController().signal;

testGatewayDriver({
  name: 'The memory driver',
  keepsBackendMarks: true,
  async create() {
    const driver = createMemoryDriver();
    return {
      driver,
      async tamper(upstream) {
        await driver.put({ ...upstream, retries: 9 }, unused);
      },
      async refer({ id }) {
        const referrer = driver.refer(id, 'route [r1]');
        return { [Symbol.asyncDispose]: async () => referrer[Symbol.dispose]() };
      },
      async [Symbol.asyncDispose]() {},
    };
  },
});

it('the memory driver gives a recreated upstream a new creation time', async () => {
  let nowSeconds = 1_800_000_000;
  const driver = createMemoryDriver({ nowSeconds: () => nowSeconds });
  const upstream = {
    id: 'u1',
    labels: {},
    nodes: [],
    scheme: 'HTTP',
    loadBalancing: { type: 'RoundRobin' },
  } as const;
  await driver.put(upstream, unused);
  nowSeconds += 5;
  expect(await driver.put(upstream, unused)).toMatchObject({ createTime: 1_800_000_000 });
  await driver.delete('u1', { references: 'respect' }, unused);
  expect(await driver.put(upstream, unused)).toMatchObject({ createTime: 1_800_000_005 });
});
