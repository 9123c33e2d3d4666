import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EtcdProtocol } from '../../../../src/sources/etcd/protocol.ts';
import { etcdRegistry } from '../../../../src/sources/etcd/schema.ts';
import { eventually } from '../../../support/eventually.ts';
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts';

type Answer =
  | { readonly status?: number; readonly body: object }
  /** The response stays open after these lines. */
  | { readonly lines: readonly string[] };
interface Asked {
  readonly path: string;
  readonly leader: unknown;
  readonly token: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

let server: Server;
let url: URL;
let asked: Asked[];
let answer: (request: Asked) => Answer;
let protocol: EtcdProtocol;
let clock: FakeClock;

beforeEach(async () => {
  asked = [];
  server = createServer(async (request, response) => {
    const body = JSON.parse(await text(request));
    const { authorization: token, 'grpc-metadata-hasleader': leader } = request.headers;
    const one = { path: request.url ?? '', token, leader, body };
    asked.push(one);
    const given = answer(one);
    if ('lines' in given) {
      response.writeHead(200).flushHeaders();
      for (const line of given.lines) response.write(`${line}\n`);
      return;
    }
    const { status = 200, body: sent } = given;
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

function create(section: object = {}, requestsPerSecond?: number): void {
  clock = createFakeClock();
  protocol = new EtcdProtocol({
    section: etcdRegistry.parse({ servers: [url.origin], format: 'GoZero', ...section }),
    secret: ({ key }) => ({ ok: true, value: key }),
    limits: {
      concurrentQueries: 10,
      requestsPerSecond,
      requestTimeoutMs: 5000,
      pollIntervalMs: 1000,
    },
    clock,
  });
}

type Cursor = Awaited<ReturnType<EtcdProtocol['ask']>>['cursor'];

function ask(service = 'web', cursor?: Cursor, waitMs = cursor === undefined ? 0 : 50_000) {
  const query = { service, options: undefined };
  const request = { query, server: url, cursor, waitMs, timeoutMs: 5000 };
  return protocol.ask(request, new AbortController().signal);
}

const base64 = (value: string) => Buffer.from(value).toString('base64');

function keys(
  numbers: readonly number[],
  more = false,
  prefix = 'web/',
  count = numbers.length + (more ? 1 : 0),
): Answer {
  const kvs = numbers.map((n) => ({ key: base64(`${prefix}${n}`), value: base64(`10.0.0.${n}:80`) }));
  return { body: { header: { cluster_id: '1', revision: '7' }, kvs, more, count: `${count}` } };
}

const USER = {
  usernameSecretRef: { name: 'etcd', key: 'username' },
  passwordSecretRef: { name: 'etcd', key: 'password' },
};

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

it.each([
  ['has fewer keys than it counts', keys([1, 2], false, 'web/', 3)],
  ['has more keys than it counts', keys([1, 2], false, 'web/', 1)],
  [
    'has keys that are no list',
    { body: { header: { cluster_id: '1', revision: '7' }, kvs: {}, count: '1' } },
  ],
])('rejects an answer that %s', async (_, given) => {
  create();
  answer = () => given;
  await expect(ask()).rejects.toMatchObject({ reason: 'InvalidAnswer' });
});

it('reads no further page of a service with too many keys', async () => {
  create();
  answer = () => keys([1], true, 'web/', 20_001);
  await expect(ask()).rejects.toMatchObject({ reason: 'InvalidAnswer', scope: 'service' });
  expect(asked).toHaveLength(1);
});

it('reports how many keys it has read, also without news', async () => {
  create();
  answer = () => keys([1, 2, 3]);
  const { cursor, read } = await ask();
  expect(read).toBe(3);
  expect(await ask('web', cursor, 0)).toMatchObject({ instances: undefined, read: 3 });
});

it('keeps instances that have not changed only once', async () => {
  create();
  answer = () => keys([1, 2]);
  const { instances, cursor } = await ask();
  expect((await ask('web', cursor, 0)).cursor.instances).toBe(instances);
});

it.each([{}, USER])('says what to check if the server has no JSON gateway (%j)', async (section) => {
  create(section);
  answer = () => ({ status: 404, body: {} });
  await expect(ask()).rejects.toMatchObject({
    reason: 'ServerError',
    scope: 'server',
    remedy:
      'check that the URL in servers is that of an etcd member, version 3.4 or later, and that --enable-grpc-gateway is not false',
  });
});

it('rejects a page without keys that promises more', async () => {
  create();
  answer = () => keys([], true);
  await expect(ask()).rejects.toMatchObject({ reason: 'InvalidAnswer' });
});

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
  await clock.advance(1000);
  await Promise.all(Array.from({ length: 8 }, (_, n) => ask(`service-${n}`)));
  expect(asked.filter(({ path }) => path === '/v3/auth/authenticate')).toHaveLength(1);
});

it('logs in at most once per second at a server that rejects its own tokens', async () => {
  create(USER);
  answer = ({ path }) =>
    path === '/v3/auth/authenticate' ? { body: { token: 'token' } } : { status: 401, body: {} };
  await expect(ask()).rejects.toMatchObject({ reason: 'ServerError', scope: 'server' });
  expect(asked.map(({ path }) => path)).toEqual(['/v3/auth/authenticate', '/v3/kv/range']);
  asked = [];
  await clock.advance(1000);
  await expect(ask()).rejects.toMatchObject({ reason: 'ServerError', scope: 'server' });
  expect(asked.map(({ path }) => path)).toEqual(['/v3/kv/range', '/v3/auth/authenticate', '/v3/kv/range']);
});

describe('a watch', () => {
  const line = (result: object) => JSON.stringify({ result });
  const BEGUN = line({ header: { cluster_id: '1', revision: '7' }, created: true });
  const pathsOf = () => asked.map(({ path }) => path);

  /** Asks once, and again with the answer, while watches have these lines. */
  async function watching(...lines: readonly string[]) {
    create();
    answer = ({ path }) => (path === '/v3/watch' ? { lines } : keys([1]));
    const { cursor } = await ask();
    asked = [];
    const next = ask('web', cursor);
    next.catch(() => undefined);
    await eventually(() => expect(pathsOf()).toContain('/v3/watch'));
    return { next };
  }

  it('begins after the revision of the last answer, and needs a member with a leader', async () => {
    const { next } = await watching(
      BEGUN,
      line({ header: { cluster_id: '1', revision: '8' }, events: [{}] }),
    );
    expect((await next).instances).toBeUndefined();
    expect(pathsOf()).toEqual(['/v3/watch', '/v3/kv/range']);
    expect(asked[0]).toMatchObject({
      leader: 'true',
      body: { create_request: { key: base64('web/'), range_end: base64('web0'), start_revision: '8' } },
    });
  });

  it.each<[string, readonly string[]]>([
    [
      'the revision was compacted',
      [BEGUN, line({ header: { cluster_id: '1' }, canceled: true, compact_revision: '9' })],
    ],
    ['the cluster is another one', [line({ header: { cluster_id: '2', revision: '7' }, created: true })]],
    ['a backup was restored', [line({ header: { cluster_id: '1', revision: '6' }, created: true })]],
    [
      'etcd cancels it',
      [line({ header: { cluster_id: '1', revision: '7' }, created: true, canceled: true })],
    ],
    ['the member loses its leader', [BEGUN, '{"error":{"message":"etcdserver: no leader"}}']],
    ['a line is not JSON', ['<html>']],
    ['an event is larger than a line', [BEGUN, 'x'.repeat(200_000)]],
  ])('is followed by a read at once if %s', async (_, lines) => {
    await await watching(...lines);
    expect(pathsOf()).toEqual(['/v3/watch', '/v3/kv/range']);
  });

  it('is followed by a read after 10 s without an event', async () => {
    const { next } = await watching(BEGUN);
    // Until the first line has arrived.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await clock.advance(9000);
    expect(pathsOf()).toEqual(['/v3/watch']);
    await clock.advance(1000);
    await next;
    expect(pathsOf()).toEqual(['/v3/watch', '/v3/kv/range']);
  });

  it('is left out where services take turns: the service is read after its wait', async () => {
    create();
    answer = () => keys([1]);
    const { cursor } = await ask();
    asked = [];
    const next = ask('web', cursor, 1000);
    await clock.advance(999);
    expect(pathsOf()).toEqual([]);
    await clock.advance(1);
    await next;
    expect(pathsOf()).toEqual(['/v3/kv/range']);
  });

  it('fails if the server does not begin it in time', async () => {
    const { next } = await watching();
    await clock.advance(5000);
    await expect(next).rejects.toMatchObject({ reason: 'Unreachable', scope: 'server' });
  });

  it('does not count the wait for the rate limit as silence of the server', async () => {
    create({}, 1);
    answer = ({ path }) => (path === '/v3/watch' ? { lines: [BEGUN] } : keys([1]));
    const { cursor } = await ask();
    asked = [];
    const next = ask('web', cursor);
    next.catch(() => undefined);
    await clock.advance(6000);
    await eventually(() => expect(pathsOf()).toEqual(['/v3/watch']));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await clock.advance(4000);
    expect((await next).instances).toBeUndefined();
    expect(pathsOf()).toEqual(['/v3/watch', '/v3/kv/range']);
  });

  it('leaves the error to the read if the server rejects it', async () => {
    create();
    answer = ({ path }) => (path === '/v3/watch' ? { status: 401, body: {} } : keys([1]));
    const { cursor } = await ask();
    expect((await ask('web', cursor)).instances).toBeUndefined();
  });
});
