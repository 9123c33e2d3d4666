import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApisixDriver } from '../../src/gateways/apisix/driver.ts';
import type { ObservedUpstream } from '../../src/model/upstream.ts';
import { MAX_LIST_BYTES } from '../../src/runtime/http/limits.ts';

const never = new AbortController().signal;
const MIB = 1024 * 1024;
/** The size of the list. Use `LIST_MIB=46` for the largest one. */
const LIST_MIB = Number(process.env['LIST_MIB'] ?? 12);

/** An upstream with this number of nodes, in the format of APISIX 3.18. */
function item(index: number, nodes: number, updateTime = 1): string {
  const host = `10.${(index >> 8) & 255}.${index & 255}`;
  return JSON.stringify({
    key: `/apisix/upstreams/shop.web-${index}`,
    createdIndex: index,
    modifiedIndex: index,
    value: {
      id: `shop.web-${index}`,
      type: 'roundrobin',
      scheme: 'http',
      create_time: 1,
      update_time: updateTime,
      labels: { team: `team-${index % 50}` },
      nodes: Array.from({ length: nodes }, (_, n) => ({ host: `${host}.${n}`, port: 8080, weight: 1 })),
    },
  });
}

const NODES = 70;

describe('a large list of upstreams', () => {
  const state = { count: Math.floor((LIST_MIB * MIB) / item(9999, NODES).length), changed: -1, sent: 0 };
  // Generated while it is sent, so that only the reader's memory counts.
  const server = createServer(async (_, response) => {
    state.sent = 0;
    let onReady: () => void = () => undefined;
    for (const event of ['drain', 'close']) response.on(event, () => onReady());
    response.writeHead(200, { 'content-type': 'application/json', server: 'APISIX/3.18.0' });
    response.write('{"list":[');
    for (let n = 0; n < state.count && !response.destroyed; n += 1) {
      const text = `${n === 0 ? '' : ','}${item(n, NODES, n === state.changed ? 2 : 1)}`;
      state.sent += text.length;
      if (response.write(text)) continue;
      await new Promise<void>((resolve) => {
        onReady = resolve;
      });
    }
    response.end(`],"total":${state.count}}`);
  });
  const open = () =>
    createApisixDriver({
      adminUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      adminKey: 'stand-in-admin-key-0123456789',
      tls: { insecureSkipVerify: false },
      concurrency: 1,
      requestTimeoutMs: 25_000,
    });

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it('yields to the event loop while it is read', async () => {
    const driver = open();
    let [sinceTurn, most, isOver] = [0, 0, false];
    const turn = () => {
      sinceTurn = 0;
      if (!isOver) setImmediate(turn);
    };
    turn();
    const { upstreams } = await driver.list(never, () => {
      sinceTurn += 1;
      most = Math.max(most, sinceTurn);
      return undefined;
    });
    isOver = true;
    driver.close();
    expect(upstreams.size).toBe(state.count);
    // Half a MiB, plus the rest of the next chunk.
    expect(most).toBeLessThan(MIB / item(0, NODES).length);
    const { rss } = process.memoryUsage();
    process.stdout.write(
      `a list of ${LIST_MIB} MiB, ${state.count} upstreams: RSS ${Math.round(rss / MIB)} MiB\n`,
    );
  });

  it('reuses unchanged objects without parsing them again', async () => {
    const driver = open();
    const known = new Map<string, ObservedUpstream>();
    const list = async () => {
      const { upstreams } = await driver.list(never, (id) => known.get(id));
      const fresh = [...upstreams].filter(([id, upstream]) => known.get(id) !== upstream);
      for (const [id, upstream] of fresh) known.set(id, upstream);
      return fresh.map(([id]) => id);
    };
    expect(await list()).toHaveLength(state.count);
    expect(await list()).toEqual([]);
    // Different bytes with the same content.
    state.changed = 5;
    expect(await list()).toEqual([]);
    // The known content differs from the gateway, although the gateway did not change.
    const seven = known.get('shop.web-7');
    if (seven === undefined) throw new Error('it was not listed');
    known.set('shop.web-7', { ...seven, canonical: '{}' });
    known.delete('shop.web-8');
    expect(await list()).toEqual(['shop.web-7', 'shop.web-8']);
    expect(known.get('shop.web-7')).toEqual(seven);
    driver.close();
  });

  it('is rejected as soon as it exceeds the limit', async () => {
    const { count } = state;
    state.count = Math.ceil((3 * MAX_LIST_BYTES) / item(9999, NODES).length);
    const driver = open();
    await expect(driver.list(never)).rejects.toThrow('has more than 48 MiB of upstreams');
    expect(state.sent).toBeLessThan(2 * MAX_LIST_BYTES);
    state.count = count;
    // The client can still send requests.
    expect((await driver.list(never)).upstreams.size).toBe(count);
    driver.close();
  });
});
