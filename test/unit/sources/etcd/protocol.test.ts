import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EtcdProtocol } from '../../../../src/sources/etcd/protocol.ts';
import { etcdRegistry } from '../../../../src/sources/etcd/schema.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

interface Answer {
  readonly status?: number;
  readonly body: object;
}
interface Asked {
  readonly path: string;
  readonly token: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

let server: Server;
let url: URL;
let asked: Asked[];
let answer: (request: Asked) => Answer;
let protocol: EtcdProtocol;

beforeEach(async () => {
  asked = [];
  server = createServer(async (request, response) => {
    const body = JSON.parse(await text(request));
    const one = { path: request.url ?? '', token: request.headers.authorization, body };
    asked.push(one);
    const { status = 200, body: sent } = answer(one);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(sent));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterEach(async () => {
  protocol.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function create(section: object = {}): void {
  protocol = new EtcdProtocol({
    section: etcdRegistry.parse({ servers: [url.origin], format: 'GoZero', ...section }),
    secret: ({ key }) => ({ ok: true, value: key }),
    limits: {
      concurrentQueries: 10,
      requestsPerSecond: undefined,
      requestTimeoutMs: 5000,
      pollIntervalMs: 1000,
    },
    clock: createFakeClock(),
  });
}

function ask(service = 'web') {
  const query = { service, options: undefined };
  const request = { query, server: url, cursor: undefined, waitMs: 0, timeoutMs: 5000 };
  return protocol.ask(request, new AbortController().signal);
}

const base64 = (value: string) => Buffer.from(value).toString('base64');

function keys(numbers: readonly number[], more = false, prefix = 'web/'): Answer {
  const kvs = numbers.map((n) => ({ key: base64(`${prefix}${n}`), value: base64(`10.0.0.${n}:80`) }));
  return { body: { header: { cluster_id: '1', revision: '7' }, kvs, more, count: '9' } };
}

it('reads all pages at the revision of the first one', async () => {
  create();
  answer = ({ body }) => (body['revision'] === undefined ? keys([1, 2], true) : keys([3]));
  const { instances } = await ask();
  expect(instances?.map(({ places }) => places[0]?.address)).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  expect(asked.map(({ body }) => [body['key'], body['range_end'], body['revision']])).toEqual([
    [base64('web/'), base64('web0'), undefined],
    [base64('web/2\0'), base64('web0'), '7'],
  ]);
});

it('rejects when a later page fails, for example after a compaction', async () => {
  create();
  answer = ({ body }) =>
    body['revision'] === undefined
      ? keys([1], true)
      : {
          status: 400,
          body: { code: 11, message: 'etcdserver: mvcc: required revision has been compacted' },
        };
  await expect(ask()).rejects.toMatchObject({ reason: 'ServerError', scope: 'server' });
});

it('rejects an answer with keys of another service', async () => {
  create();
  answer = () => keys([1], false, 'webs/');
  await expect(ask()).rejects.toMatchObject({ reason: 'InvalidAnswer' });
});

it('rejects a page without keys that promises more', async () => {
  create();
  answer = () => keys([], true);
  await expect(ask()).rejects.toMatchObject({ reason: 'InvalidAnswer' });
});

const USER = {
  usernameSecretRef: { name: 'etcd', key: 'username' },
  passwordSecretRef: { name: 'etcd', key: 'password' },
};

it('logs in again once for all services when a token expires', async () => {
  create(USER);
  let valid = 'token-0';
  answer = ({ path, token }) => {
    if (path === '/v3/auth/authenticate') return { body: { token: valid } };
    return token === valid
      ? keys([])
      : { status: 401, body: { code: 16, message: 'etcdserver: invalid auth token' } };
  };
  await ask();
  valid = 'token-1';
  asked = [];
  await Promise.all(Array.from({ length: 8 }, (_, n) => ask(`service-${n}`)));
  expect(asked.filter(({ path }) => path === '/v3/auth/authenticate')).toHaveLength(1);
});

it('asks for one more login only if the new token is rejected too', async () => {
  create(USER);
  answer = ({ path }) =>
    path === '/v3/auth/authenticate' ? { body: { token: 'token' } } : { status: 401, body: {} };
  await expect(ask()).rejects.toMatchObject({ reason: 'Unauthorized', scope: 'registry' });
  expect(asked.map(({ path }) => path)).toEqual([
    '/v3/auth/authenticate',
    '/v3/kv/range',
    '/v3/auth/authenticate',
    '/v3/kv/range',
  ]);
});
