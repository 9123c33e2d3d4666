import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DataPlaneReader } from '../../src/gateways/driver.ts';
import type { Upstream, UpstreamNode } from '../../src/model/upstream.ts';
import { eventually } from '../support/eventually.ts';
import type { GatewayHarness } from './gateway-driver.ts';

/** A gateway on this machine with a Control API and a data plane. */
export interface DataPlaneHarness extends Pick<GatewayHarness, 'driver' | typeof Symbol.asyncDispose> {
  readonly controlUrl: string;
  /** Creates a route from `path` to the upstream. Disposing deletes it. */
  route(path: string, upstream: Upstream): Promise<AsyncDisposable>;
  /** Sends a request to the data plane. Resolves to the status. */
  request(path: string): Promise<number>;
}

const unused = new AbortController().signal;
/** A real data plane has several workers, and any of them accepts a connection. */
const REQUESTS = 10;

/** The contract of a data-plane reader in `src/gateways/driver.ts`, on an exclusive or shared gateway. */
export function testDataPlaneReader(options: {
  readonly name: string;
  readonly create: () => Promise<DataPlaneHarness>;
}): void {
  const prefix = `conformance-${Math.random().toString(36).slice(2, 10)}`;

  describe(`${options.name} as a data-plane reader`, () => {
    let harness: DataPlaneHarness;
    let reader: DataPlaneReader;
    let node: UpstreamNode;
    let upstreams = 0;
    const server = createServer((_, response) => response.end('ok'));

    beforeAll(async () => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      node = { host: '127.0.0.1', port, weight: 1, priority: 0 };
      harness = await options.create();
      const { dataPlanes } = harness.driver;
      if (dataPlanes === undefined) throw new Error('this driver cannot ask data planes');
      reader = dataPlanes;
    });

    afterAll(async () => {
      harness.driver.close();
      await harness[Symbol.asyncDispose]();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });

    async function views(id: string): Promise<readonly (string | undefined)[]> {
      const seen: (string | undefined)[] = [];
      for (let n = 0; n < REQUESTS; n += 1) {
        seen.push(await reader.get(harness.controlUrl, id, unused));
        seen.push((await reader.list(harness.controlUrl, unused)).get(id));
      }
      return [...new Set(seen)];
    }

    const named = (host: string): UpstreamNode => ({ ...node, host });
    it.each<[string, () => Partial<Upstream>, number]>([
      ['one node', () => ({ nodes: [node] }), 200],
      ['one LeastConn node', () => ({ nodes: [node], loadBalancing: { type: 'LeastConn' } }), 200],
      ['two nodes', () => ({ nodes: [node, { ...node, host: '127.0.0.2', priority: -1 }] }), 200],
      ['a rewritten Host header', () => ({ hostHeader: { type: 'Rewrite', value: 'shop.test' } }), 200],
      ['a name', () => ({ nodes: [named('localhost')] }), 200],
      ['a name that does not resolve', () => ({ nodes: [named('unknown.invalid')] }), 503],
      [
        'a name that does not resolve, and an address',
        () => ({ nodes: [node, named('unknown.invalid')] }),
        200,
      ],
      ['no nodes', () => ({ nodes: [] }), 503],
    ])('shows the written upstream before and after requests: %s', async (_, fields, status) => {
      upstreams += 1;
      const upstream: Upstream = {
        id: `${prefix}.${upstreams}`,
        labels: { suite: prefix },
        nodes: [node],
        scheme: 'HTTP',
        loadBalancing: { type: 'RoundRobin' },
        ...fields(),
      };
      const shown = reader.shown((await harness.driver.put(upstream, unused)).canonical);
      await using cleanUp = new AsyncDisposableStack();
      cleanUp.defer(() => harness.driver.delete(upstream.id, { references: 'ignore' }, unused));
      const path = `/${upstream.id}`;
      cleanUp.use(await harness.route(path, upstream));
      await eventually(async () => expect(await views(upstream.id)).toEqual([shown]));
      await eventually(async () => expect(await harness.request(path)).toBe(status));
      for (let n = 0; n < REQUESTS; n += 1) expect(await harness.request(path)).toBe(status);
      expect(await views(upstream.id)).toEqual([shown]);
    });
  });
}
