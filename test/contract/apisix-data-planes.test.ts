import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { DataPlaneReader, GatewayDriver } from '../../src/gateways/driver.ts';
import { GatewayUnavailableError } from '../../src/model/errors.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { apisixDataPlaneHarness, apisixDriver } from './apisix-harness.ts';
import { testDataPlaneReader } from './data-plane-reader.ts';

const unused = new AbortController().signal;

const upstream: Upstream = {
  id: 'shop.web',
  labels: { owner: 'us' },
  nodes: [
    { host: '10.0.0.1', port: 8080, weight: 1, priority: 0 },
    { host: 'fd00::1', port: 8080, weight: 2, priority: -1 },
  ],
  scheme: 'HTTP',
  loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'remote_addr' },
  timeouts: { connectMs: 500, sendMs: 1000, readMs: 1000 },
};

function readerOf(driver: GatewayDriver): DataPlaneReader {
  onTestFinished(() => driver.close());
  const { dataPlanes } = driver;
  if (dataPlanes === undefined) throw new Error('this driver can ask data planes');
  return dataPlanes;
}

async function start(): Promise<{
  readonly standIn: StandIn;
  readonly driver: GatewayDriver;
  readonly reader: DataPlaneReader;
}> {
  const standIn = await startStandIn();
  onTestFinished(() => standIn[Symbol.asyncDispose]());
  const driver = apisixDriver({ adminUrl: standIn.adminUrl, adminKey: standIn.adminKey });
  return { standIn, driver, reader: readerOf(driver) };
}

/** A server that is not a Control API. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const stranger = () =>
  readerOf(apisixDriver({ adminUrl: 'http://127.0.0.1:9', adminKey: 'a-key-that-stays-here' }));

for (const version of ['3.2.0', '3.13.0', '3.14.1', '3.17.0', '3.18.0']) {
  testDataPlaneReader({
    name: `The APISIX driver on a stand-in for ${version}`,
    async create() {
      const standIn = await startStandIn({ version });
      return apisixDataPlaneHarness(standIn, async () => await standIn[Symbol.asyncDispose]());
    },
  });
}

describe('a data plane', () => {
  test('shows written upstreams with and without defaults, one by one and in its list', async () => {
    const { standIn, driver, reader } = await start();
    expect(await reader.list(standIn.controlUrl, unused)).toEqual(new Map());
    expect(await reader.get(standIn.controlUrl, upstream.id, unused)).toBeUndefined();
    const others: readonly Upstream[] = [
      { ...upstream, id: 'empty', nodes: [], labels: {}, loadBalancing: { type: 'RoundRobin' } },
      { ...upstream, id: 'least', scheme: 'GRPC', loadBalancing: { type: 'LeastConn' }, retries: 0 },
    ];
    for (const each of [upstream, ...others]) {
      const { canonical } = await driver.put(each, unused);
      expect(await reader.get(standIn.controlUrl, each.id, unused)).toBe(reader.shown(canonical));
      expect((await reader.list(standIn.controlUrl, unused)).get(each.id)).toBe(reader.shown(canonical));
    }
  });

  test('shows a different configuration while it is held back', async () => {
    const { standIn, driver, reader } = await start();
    const held = await standIn.addDataPlane();
    const before = await driver.put(upstream, unused);
    held.hold();
    const after = await driver.put({ ...upstream, nodes: [] }, unused);
    expect(await reader.get(held.controlUrl, upstream.id, unused)).toBe(reader.shown(before.canonical));
    expect(await reader.get(standIn.controlUrl, upstream.id, unused)).toBe(reader.shown(after.canonical));
    expect(reader.shown(before.canonical)).not.toBe(reader.shown(after.canonical));
  });

  test('works with a path in its URL', async () => {
    const paths: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      paths.push(request.url);
      response.end('{}');
    });
    const reader = stranger();
    for (const prefix of ['', '/', '/gateways/one', '/gateways/one/']) {
      expect(await reader.list(`${url}${prefix}`, unused)).toEqual(new Map());
    }
    expect(paths).toEqual([
      '/v1/upstreams',
      '/v1/upstreams',
      '/gateways/one/v1/upstreams',
      '/gateways/one/v1/upstreams',
    ]);
  });

  test('never receives the admin key', async () => {
    const requests: IncomingMessage[] = [];
    const url = await serve((request, response) => {
      requests.push(request);
      response.writeHead(302, { location: '/' }).end();
    });
    const reader = stranger();
    await expect(reader.get(url, 'a', unused)).rejects.toBeInstanceOf(GatewayUnavailableError);
    await expect(reader.list(url, unused)).rejects.toBeInstanceOf(GatewayUnavailableError);
    expect(requests).toHaveLength(2);
    for (const { headers } of requests)
      expect(JSON.stringify(headers)).not.toContain('a-key-that-stays-here');
  });

  test('receives no request for an invalid id', async () => {
    let asked = 0;
    const url = await serve((_, response) => {
      asked += 1;
      response.end('{}');
    });
    for (const id of ['..', 'a/b', '']) {
      await expect(stranger().get(url, id, unused)).rejects.toThrow('is not a valid upstream id');
    }
    expect(asked).toBe(0);
  });
});

describe('a server that is not a Control API', () => {
  const json = (status: number, body: unknown): RequestListener => {
    return (_, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
  };
  const WRONG_ADDRESS =
    'check that spec.apisix.controlApi is the address of the Control API of APISIX (apisix.control.port, by default 9090)';
  const FOREIGN = 'sent an answer that is not from the Control API of APISIX: correct spec.apisix.controlApi';

  test.each<[string, RequestListener, string]>([
    [
      'a page',
      (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html></html>'),
      `answered 200 without JSON: ${WRONG_ADDRESS}`,
    ],
    [
      'a page that does not exist',
      (_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<html></html>'),
      `answered 404 without JSON: ${WRONG_ADDRESS}`,
    ],
    [
      'a redirect',
      (_, response) => response.writeHead(301, { location: 'http://127.0.0.1:9/' }).end(),
      `answered with a redirect (301), which the operator does not follow: ${WRONG_ADDRESS}`,
    ],
    ['a 403', json(403, {}), `answered 403: ${WRONG_ADDRESS}`],
    ['an error', json(500, { error_msg: 'secret words' }), 'answered 500: check the log of the data plane'],
    ['a 404 of another server', json(404, { error_msg: 'nothing here' }), FOREIGN],
    ['a number', json(200, 7), FOREIGN],
    ['an object of another kind', json(200, { status: 'ok' }), FOREIGN],
    ['a list of other values', json(200, [1]), FOREIGN],
    [
      'half a response',
      (_, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{');
        setImmediate(() => response.destroy());
      },
      `gave no usable answer (ERR_HTTP_CONTENT_LENGTH_MISMATCH): ${WRONG_ADDRESS}`,
    ],
  ])('is reported: %s', async (_, listener, message) => {
    const url = await serve(listener);
    const reader = stranger();
    const failures = await Promise.all(
      [reader.get(url, 'a', unused), reader.list(url, unused)].map((call) =>
        call.then(
          () => undefined,
          (error: unknown) => error,
        ),
      ),
    );
    for (const failure of failures) {
      expect(failure).toBeInstanceOf(GatewayUnavailableError);
      expect((failure as Error).message).toBe(message);
    }
  });

  test('is reported if no server listens, with the remedy for the default on loopback', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const free = (closed.address() as AddressInfo).port;
    await new Promise((resolve) => closed.close(resolve));
    await expect(stranger().list(`http://127.0.0.1:${free}`, unused)).rejects.toThrow(
      'refused the connection: set apisix.enable_control to true, and set apisix.control.ip (by default 127.0.0.1) to an address that the operator can reach',
    );
  });

  test('is reported after 2 s without a response, without delaying others', async () => {
    const silent = await serve(() => undefined);
    const { standIn, reader } = await start();
    const waiting = reader.get(silent, 'a', unused);
    expect(await reader.list(standIn.controlUrl, unused)).toEqual(new Map());
    await expect(waiting).rejects.toThrow('did not answer in time: check the load of the data plane');
  });

  test('rejects with the reason of an abort', async () => {
    const silent = await serve(() => undefined);
    const abort = new AbortController();
    const waiting = stranger().get(silent, 'a', abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
