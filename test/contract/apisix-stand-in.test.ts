import { createServer, request as httpRequest, type Server } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  type Fault,
  type StandIn,
  type StandInOptions,
  startStandIn,
} from '../support/apisix-stand-in/stand-in.ts';
import { createCertificateAuthority } from '../support/control-plane/certificates.ts';
import { eventually } from '../support/eventually.ts';

const NODES = [{ host: '127.0.0.1', port: 80, weight: 1 }];

async function newStandIn(options: StandInOptions = {}): Promise<StandIn> {
  const standIn = await startStandIn(options);
  onTestFinished(() => standIn[Symbol.asyncDispose]());
  return standIn;
}

interface Received {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly json: unknown;
}

interface Sent {
  readonly key?: string;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
}

/** Sends one request on a new connection. A string is sent unchanged, any other body as JSON. */
function send(base: string, method: string, path: string, options: Sent = {}): Promise<Received> {
  return new Promise((resolve, reject) => {
    const text = typeof options.body === 'string' ? options.body : JSON.stringify(options.body);
    const outgoing = (base.startsWith('https') ? httpsRequest : httpRequest)(
      base,
      {
        method,
        path,
        agent: false,
        headers: {
          ...(options.key === undefined ? {} : { 'x-api-key': options.key }),
          ...(text === undefined ? {} : { 'content-length': String(Buffer.byteLength(text)) }),
          ...options.headers,
        },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        ...options.tls,
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const received = Buffer.concat(chunks).toString('utf8');
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            text: received,
            json: received.startsWith('{') || received.startsWith('[') ? JSON.parse(received) : undefined,
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(text);
  });
}

function admin(standIn: StandIn, method: string, path: string, body?: unknown): Promise<Received> {
  return send(standIn.adminUrl, method, `/apisix/admin${path}`, {
    key: standIn.adminKey,
    ...(body === undefined ? {} : { body }),
  });
}

async function put(standIn: StandIn, path: string, body: unknown): Promise<void> {
  const { status, text } = await admin(standIn, 'PUT', path, body);
  expect(status, text).toBeLessThan(300);
}

describe('validation of upstreams', () => {
  const base = { type: 'roundrobin', nodes: NODES };
  const cases: readonly (readonly [name: string, status: number, body: unknown])[] = [
    ['an IPv6 host in brackets', 201, { nodes: [{ host: '[fd00::1]', port: 1, weight: 1 }] }],
    ['a bare IPv6 host', 400, { nodes: [{ host: 'fd00::1', port: 1, weight: 1 }] }],
    ['an empty host', 400, { nodes: [{ host: '', port: 1, weight: 1 }] }],
    ['the port as a string', 400, { nodes: [{ host: 'a', port: '80', weight: 1 }] }],
    ['the last port', 201, { nodes: [{ host: 'a', port: 65_535, weight: 1 }] }],
    ['the weight as a string', 400, { nodes: [{ host: 'a', port: 1, weight: '1' }] }],
    ['an unknown field of a node', 201, { nodes: [{ host: 'a', port: 1, weight: 1, extra: true }] }],
    [
      '2,000 nodes',
      201,
      { nodes: Array.from({ length: 2000 }, (_, n) => ({ host: `h${n}`, port: 1, weight: 1 })) },
    ],
    ['nodes as a string', 500, { nodes: 'a:1' }],
    ['nodes as a number', 500, { nodes: 1 }],
    ['a null node', 500, { nodes: [null] }],
    ['a float weight in the hash form', 400, { nodes: { 'a:1': 0.5 } }],
    ['port 65536 in the hash form', 400, { nodes: { '[::1]:65536': 1 } }],
    ['an IPv6 host without a port in the hash form', 201, { nodes: { '::1': 1 } }],
    ['a label of 257 characters', 400, { ...base, labels: { k: 'x'.repeat(257) } }],
    ['a label with a tab', 400, { ...base, labels: { k: 'a\tb' } }],
    ['a name of one character beyond 16 bits', 201, { ...base, name: '\u{1F600}'.repeat(256) }],
    ['a timeout of 0', 400, { ...base, timeout: { connect: 0, send: 1, read: 1 } }],
    ['a null field', 400, { ...base, desc: null }],
    ['the id of another object', 400, { ...base, id: 'other' }],
    ['chash without hash_on and key', 400, { ...base, type: 'chash' }],
    ['chash on a cookie without key', 400, { ...base, type: 'chash', hash_on: 'cookie' }],
    ['chash on an unknown source', 400, { ...base, type: 'chash', hash_on: 'body', key: 'x' }],
    ['passive checks without active ones', 400, { ...base, checks: { passive: {} } }],
    [
      'a check that fails after 0 failures',
      400,
      { ...base, checks: { active: { unhealthy: { tcp_failures: 0 } } } },
    ],
    [
      'a passive check that never fails',
      201,
      { ...base, checks: { active: {}, passive: { unhealthy: { timeouts: 0 } } } },
    ],
    ['keepalive without an idle timeout', 201, { ...base, keepalive_pool: { idle_timeout: 0 } }],
    [
      'tls with an invalid certificate',
      400,
      { ...base, tls: { client_cert: 'x'.repeat(128), client_key: 'x'.repeat(64) } },
    ],
    ['scheme in upper case', 400, { ...base, scheme: 'HTTP' }],
    ['a field of a later version', 400, { ...base, warm_up_conf: {} }],
  ];

  test.each(cases)('answers %s with %i', async (_, status, body) => {
    const standIn = await newStandIn();
    const answer = await admin(standIn, 'PUT', '/upstreams/u1', body);
    expect(answer.status, answer.text).toBe(status);
    if (status === 400) expect(answer.json).toEqual({ error_msg: expect.stringMatching(/./) });
    if (status === 500) expect(answer.headers['content-type']).toContain('text/html');
    expect(standIn.ids('upstreams')).toEqual(status === 201 ? ['u1'] : []);
    if (status === 201) expect(standIn.get('upstreams', 'u1')).toMatchObject(body as object);
  });
});

describe('store', () => {
  test('counts revisions, keeps the creation time, and resets both when wiped', async () => {
    let clock = 100.9;
    const standIn = await newStandIn({ now: () => clock });
    await put(standIn, '/upstreams/a', { nodes: NODES });
    clock = 200;
    await put(standIn, '/upstreams/b', { nodes: NODES });
    await put(standIn, '/upstreams/a', { nodes: NODES, desc: 'again' });
    const { json } = await admin(standIn, 'GET', '/upstreams/a');
    expect(json).toEqual({
      key: '/apisix/upstreams/a',
      value: { id: 'a', nodes: NODES, desc: 'again', create_time: 100, update_time: 200 },
      createdIndex: 1,
      modifiedIndex: 3,
    });
    await put(standIn, '/upstreams/a?ttl=10', { nodes: NODES });
    expect(standIn.ids('upstreams')).toEqual(['a', 'b']);
    clock = 210;
    expect(standIn.ids('upstreams')).toEqual(['b']);
    standIn.wipe();
    expect(standIn.ids('upstreams')).toEqual([]);
    await put(standIn, '/upstreams/a', { nodes: NODES });
    expect(await admin(standIn, 'GET', '/upstreams/a')).toMatchObject({ json: { createdIndex: 1 } });
  });

  test('uses the part of an id before a slash, and resolves dot segments', async () => {
    const standIn = await newStandIn();
    await put(standIn, '/upstreams/a%2Fb', { nodes: NODES });
    expect(standIn.ids('upstreams')).toEqual(['a']);
    expect((await admin(standIn, 'PUT', '/upstreams/..', { nodes: NODES })).status).toBe(500);
    expect((await admin(standIn, 'DELETE', '/upstreams//a/x')).status).toBe(200);
    expect(standIn.ids('upstreams')).toEqual([]);
    expect((await admin(standIn, 'GET', '/upstreams/%zz')).status).toBe(400);
  });

  test('returns no key that was sent in a header or in a route', async () => {
    const standIn = await newStandIn();
    const authority = createCertificateAuthority();
    const { certPem, keyPem } = authority.issue({ commonName: 'c', hosts: [], usage: 'client' });
    const tls = { client_cert: certPem, client_key: keyPem };
    await put(standIn, '/upstreams/u', { nodes: NODES, tls });
    await put(standIn, '/routes/r', { uri: '/r', upstream: { nodes: NODES, tls } });
    await put(standIn, '/ssls/s', { type: 'client', cert: certPem, key: keyPem });
    for (const path of ['/upstreams/u', '/routes/r', '/ssls/s', '/upstreams', '/routes', '/ssls']) {
      const { status, text } = await admin(standIn, 'GET', path);
      expect(status).toBe(200);
      expect(text).toContain(JSON.stringify(certPem));
      expect(text).not.toContain('PRIVATE KEY');
    }
    const encrypted = standIn.get('upstreams', 'u')?.['tls'];
    expect((await admin(standIn, 'PATCH', '/upstreams/u', { desc: 'kept' })).status).toBe(200);
    expect(standIn.get('upstreams', 'u')).toMatchObject({ desc: 'kept', tls: encrypted });
    await put(standIn, '/upstreams/u', { nodes: NODES, tls: { client_cert_id: 's' } });
  });

  test('stores defaults like older versions', async () => {
    const standIn = await newStandIn({ storesDefaults: true, version: '3.12.0' });
    const answer = await admin(standIn, 'PUT', '/upstreams/u', { nodes: NODES, checks: { active: {} } });
    expect(answer.headers['server']).toBe('APISIX/3.12.0');
    expect(standIn.get('upstreams', 'u')).toMatchObject({
      type: 'roundrobin',
      scheme: 'http',
      hash_on: 'vars',
      pass_host: 'pass',
      nodes: [{ ...NODES[0], priority: 0 }],
      checks: { active: { type: 'http', http_path: '/', concurrency: 10 } },
    });
  });

  test('rejects a body of more than 1.5 MiB', async () => {
    const standIn = await newStandIn();
    const padded = (bytes: number) => {
      const text = JSON.stringify({ nodes: NODES });
      return text + ' '.repeat(bytes - text.length);
    };
    expect((await admin(standIn, 'PUT', '/upstreams/u', padded(1_572_864))).status).toBe(201);
    expect((await admin(standIn, 'PUT', '/upstreams/v', padded(1_572_865))).status).toBe(413);
    expect(standIn.ids('upstreams')).toEqual(['u']);
  });
});

describe('references', () => {
  test('keep an upstream while a route or a service refers to it, but not for a stream route', async () => {
    const standIn = await newStandIn();
    expect((await admin(standIn, 'PUT', '/services/s', { upstream_id: 'u' })).status).toBe(400);
    await put(standIn, '/upstreams/u', { nodes: NODES });
    await put(standIn, '/stream_routes/x', { server_port: 9100, upstream_id: 'u' });
    await put(standIn, '/services/s', { upstream_id: 'u' });
    await put(standIn, '/routes/r2', { uri: '/2', service_id: 's' });
    await put(standIn, '/routes/r1', { uri: '/1', upstream_id: 'u' });

    const refusals: unknown[] = [];
    const refused = async (path: string) => {
      const { status, json } = await admin(standIn, 'DELETE', path);
      refusals.push([status, json]);
    };
    await refused('/upstreams/u');
    await admin(standIn, 'DELETE', '/routes/r1');
    await refused('/upstreams/u');
    await refused('/services/s');
    expect(refusals).toEqual([
      [400, { error_msg: 'can not delete this upstream, route [r1] is still using it now' }],
      [400, { error_msg: 'can not delete this upstream, service [s] is still using it now' }],
      [400, { error_msg: 'can not delete this service directly, route [r2] is still using it now' }],
    ]);
    expect((await admin(standIn, 'DELETE', '/upstreams/u?force=true')).status).toBe(200);
    expect(standIn.ids('services')).toEqual(['s']);

    await put(standIn, '/upstreams/v', { nodes: NODES });
    await put(standIn, '/stream_routes/x', { server_port: 9100, upstream_id: 'v' });
    expect((await admin(standIn, 'DELETE', '/upstreams/v')).status).toBe(200);
    const listed = await admin(standIn, 'GET', '/stream_routes?filter=upstream_id%3Dv');
    expect(listed.json).toMatchObject({ total: 1, list: [{ value: { upstream_id: 'v' } }] });
    expect((await admin(standIn, 'GET', '/stream_routes?filter=upstream_id%3Du')).json).toEqual({
      list: [],
      total: 0,
    });
  });
});

describe('lists', () => {
  test('have pages ordered by creation, a complete list ordered by key, and an object as empty page', async () => {
    const standIn = await newStandIn();
    for (let n = 11; n >= 0; n -= 1) {
      await put(standIn, `/upstreams/u${String(n).padStart(2, '0')}`, {
        nodes: NODES,
        labels: { [`l${n % 2}`]: 'x' },
      });
    }
    const ids = async (query: string) => {
      const { json } = await admin(standIn, 'GET', `/upstreams${query}`);
      const { list, total } = json as { list: { value: { id: string } }[]; total: number };
      return [Array.isArray(list) ? list.map(({ value }) => value.id).join(' ') : list, total];
    };
    expect(await ids('')).toEqual(['u00 u01 u02 u03 u04 u05 u06 u07 u08 u09 u10 u11', 12]);
    expect(await ids('?page=2&page_size=10')).toEqual(['u01 u00', 12]);
    expect(await ids('?page=3&page_size=10')).toEqual([{}, 12]);
    expect(await ids('?label=none')).toEqual(['', 0]);
    expect(await ids('?label=none&page=1&page_size=10')).toEqual([{}, 0]);
    expect(await ids('?label=l1&page=1&page_size=10')).toEqual(['u11 u09 u07 u05 u03 u01', 6]);
    expect(await ids('?name=u')).toEqual(['', 0]);
    expect(await ids('?name=%5B')).toEqual(['', 0]);
    expect((await admin(standIn, 'GET', '/upstreams?page=1&page_size=501')).status).toBe(400);
  });
});

describe('PATCH', () => {
  const stored = { nodes: { 'a:1': 1 }, labels: { a: '1' }, desc: 'd' };
  const cases: readonly (readonly [path: string, body: unknown, status: number, result: object])[] = [
    ['', { nodes: { 'b:1': 2 } }, 200, { ...stored, nodes: { 'a:1': 1, 'b:1': 2 } }],
    ['', { nodes: [] }, 200, { ...stored, nodes: [] }],
    ['', { labels: {} }, 200, { ...stored, labels: {} }],
    ['', { labels: { a: null, b: '2' } }, 200, { ...stored, labels: { b: '2' } }],
    ['', { create_time: 5 }, 200, { ...stored, create_time: 5 }],
    ['', { create_time: null }, 200, { ...stored, create_time: 20 }],
    ['', { update_time: 7 }, 200, { ...stored, update_time: 7 }],
    ['', { id: 'other' }, 400, stored],
    ['', { nodes: null }, 400, stored],
    ['', 'text', 400, stored],
    ['/nodes', null, 500, stored],
    ['/desc', null, 400, stored],
    ['/desc/deeper', 'x', 400, stored],
    ['/labels/b', '2', 200, { ...stored, labels: { a: '1', b: '2' } }],
    ['/timeout/connect', 1, 400, stored],
    ['/nodes/c:1', 3, 200, { ...stored, nodes: { 'a:1': 1, 'c:1': 3 } }],
  ];
  test.each(cases)('%s %j: %i', async (path, body, status, result) => {
    let clock = 10;
    const standIn = await newStandIn({ now: () => clock });
    await put(standIn, '/upstreams/p', stored);
    clock = 20;
    const answer = await admin(standIn, 'PATCH', `/upstreams/p${path}`, JSON.stringify(body));
    expect(answer.status, answer.text).toBe(status);
    const times = { create_time: 10, update_time: status === 200 ? 20 : 10 };
    expect(standIn.get('upstreams', 'p')).toEqual({ id: 'p', ...times, ...result });
  });
});

describe('authentication', () => {
  test('checks the current key of every request first', async () => {
    const standIn = await newStandIn({ viewerKey: 'viewer' });
    const attempt = async (method: string, path: string, sent: Sent) => {
      const { status, json } = await send(standIn.adminUrl, method, `/apisix/admin${path}`, sent);
      return [status, json];
    };
    const refusedFor = (description: string) => [401, { error_msg: 'failed to check token', description }];
    expect(await attempt('GET', '/nothing', {})).toEqual(refusedFor('missing apikey'));
    expect(await attempt('PUT', '/upstreams/u', { key: '', body: '{' })).toEqual(refusedFor('wrong apikey'));
    expect(await attempt('DELETE', '/upstreams/u', { key: 'viewer' })).toEqual(
      refusedFor('invalid method for role viewer'),
    );
    expect(await attempt('GET', '/upstreams/u', { key: 'viewer' })).toEqual([
      404,
      { message: 'Key not found' },
    ]);
    const cookie = { headers: { cookie: `a=b; x_api_key=${standIn.adminKey}` } };
    expect(await attempt('GET', '/upstreams', cookie)).toEqual([200, { list: [], total: 0 }]);

    const before = standIn.adminKey;
    standIn.setAdminKey('rotated');
    expect(standIn.adminKey).toBe('rotated');
    expect(await attempt('GET', '/upstreams', { key: before })).toEqual(refusedFor('wrong apikey'));
    expect(await attempt('GET', '/upstreams', { key: 'rotated' })).toEqual([200, { list: [], total: 0 }]);
    for (const { status } of standIn.requests) expect(status).toBeTypeOf('number');
  });

  test('supports TLS with a client certificate', async () => {
    const authority = createCertificateAuthority();
    const server = authority.issue({ commonName: 'gateway', hosts: ['127.0.0.1'], usage: 'server' });
    const client = authority.issue({ commonName: 'operator', hosts: [], usage: 'client' });
    const standIn = await newStandIn({
      tls: { key: server.keyPem, cert: server.certPem, clientCa: authority.certPem },
    });
    expect(standIn.adminUrl).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const ask = (tls: Sent['tls'] & object) =>
      send(standIn.adminUrl, 'GET', '/apisix/admin/upstreams', { key: standIn.adminKey, tls });
    const trusted = { ca: authority.certPem };
    expect((await ask({ ...trusted, cert: client.certPem, key: client.keyPem })).status).toBe(200);
    await expect(ask(trusted)).rejects.toThrow();
    const stranger = createCertificateAuthority().issue({ commonName: 'x', hosts: [], usage: 'client' });
    await expect(ask({ ...trusted, cert: stranger.certPem, key: stranger.keyPem })).rejects.toThrow();
    expect(standIn.requests).toHaveLength(1);
  });
});

describe('faults', () => {
  const upstream = { nodes: NODES };

  test('answer instead of the gateway, for a number of requests, in the order of the rules', async () => {
    const standIn = await newStandIn();
    standIn.addFault({
      fault: {
        kind: 'answer',
        status: 503,
        body: 'busy',
        contentType: 'text/plain',
        headers: { 'retry-after': '7' },
      },
      match: ({ method, path }) => method === 'PUT' && path.endsWith('/u'),
      times: 1,
    });
    using second = standIn.addFault({
      fault: { kind: 'answer', status: 403 },
      match: ({ method }) => method === 'PUT',
    });
    const busy = await admin(standIn, 'PUT', '/upstreams/u', upstream);
    expect(busy).toMatchObject({
      status: 503,
      text: 'busy',
      headers: { 'retry-after': '7', server: 'APISIX/3.18.0' },
    });
    expect((await admin(standIn, 'PUT', '/upstreams/u', upstream)).status).toBe(403);
    expect((await admin(standIn, 'GET', '/upstreams/u')).status).toBe(404);
    second[Symbol.dispose]();
    expect((await admin(standIn, 'PUT', '/upstreams/u', upstream)).status).toBe(201);
    const times = { arrivedAt: expect.any(Number), answeredAt: expect.any(Number) };
    expect(standIn.requests).toEqual([
      {
        ...times,
        seq: 1,
        method: 'PUT',
        path: '/apisix/admin/upstreams/u',
        status: 503,
        body: JSON.stringify(upstream),
      },
      {
        ...times,
        seq: 2,
        method: 'PUT',
        path: '/apisix/admin/upstreams/u',
        status: 403,
        body: JSON.stringify(upstream),
      },
      { ...times, seq: 3, method: 'GET', path: '/apisix/admin/upstreams/u', status: 404, body: undefined },
      {
        ...times,
        seq: 4,
        method: 'PUT',
        path: '/apisix/admin/upstreams/u',
        status: 201,
        body: JSON.stringify(upstream),
      },
    ]);
    standIn.clearRequests();
    expect(standIn.requests).toEqual([]);
  });

  const cuts: readonly (readonly [fault: Fault, stored: readonly string[]])[] = [
    [{ kind: 'cut' }, []],
    [{ kind: 'cut', apply: 'before' }, ['u']],
    [{ kind: 'cut', apply: 'before', after: 'headers' }, ['u']],
    [{ kind: 'cut', apply: 'before', after: 'half-body' }, ['u']],
  ];
  test.each(cuts)('cut a response: %j', async (fault, stored) => {
    const standIn = await newStandIn();
    standIn.addFault({ fault, times: 1 });
    await expect(admin(standIn, 'PUT', '/upstreams/u', upstream)).rejects.toMatchObject({
      code: 'ECONNRESET',
    });
    expect(standIn.ids('upstreams')).toEqual(stored);
    expect(standIn.requests.map(({ status }) => status)).toEqual([undefined]);
    await eventually(() => expect(standIn.openConnections()).toBe(0));
    expect((await admin(standIn, 'GET', '/upstreams')).status).toBe(200);
  });

  test('cut a response after the headers or after half the body', async () => {
    const standIn = await newStandIn();
    await put(standIn, '/upstreams/u', upstream);
    const whole = (await admin(standIn, 'GET', '/upstreams/u')).text;
    const received = (after: 'headers' | 'half-body') =>
      new Promise<{ status: number | undefined; bytes: number }>((resolve, reject) => {
        standIn.addFault({ fault: { kind: 'cut', after }, times: 1 });
        const headers = { 'x-api-key': standIn.adminKey };
        const path = '/apisix/admin/upstreams/u';
        const outgoing = httpRequest(standIn.adminUrl, { path, headers, agent: false }, (incoming) => {
          let bytes = 0;
          incoming.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
          });
          incoming.on('error', () => resolve({ status: incoming.statusCode, bytes }));
          incoming.on('end', () => reject(new Error('the answer came whole')));
        });
        outgoing.on('error', reject);
        outgoing.end();
      });
    expect(await received('headers')).toEqual({ status: 200, bytes: 0 });
    expect(await received('half-body')).toEqual({ status: 200, bytes: Math.floor(whole.length / 2) });
  });

  test.each([
    ['applied', { kind: 'hang', apply: 'before' } as const, ['u']],
    ['not applied', { kind: 'hang' } as const, []],
  ])('let a request hang, %s, until the rule is removed', async (_, fault, stored) => {
    const standIn = await newStandIn();
    const rule = standIn.addFault({ fault, match: ({ method }) => method === 'PUT' });
    const outcome = admin(standIn, 'PUT', '/upstreams/u', upstream).then(
      () => 'answered',
      () => 'cut',
    );
    await eventually(() => expect(standIn.requests.at(0)?.body).toBe(JSON.stringify(upstream)));
    expect((await admin(standIn, 'GET', '/upstreams')).status).toBe(200);
    expect(standIn.openConnections()).toBeGreaterThanOrEqual(1);
    rule[Symbol.dispose]();
    expect(await outcome).toBe('cut');
    expect(standIn.ids('upstreams')).toEqual(stored);
    await eventually(() => expect(standIn.openConnections()).toBe(0));
  });

  test('apply a delayed request after its client has disconnected', async () => {
    const standIn = await newStandIn();
    standIn.addFault({ fault: { kind: 'delay', delayMs: 200 }, match: ({ method }) => method === 'PUT' });
    const client = new AbortController();
    const outcome = send(standIn.adminUrl, 'PUT', '/apisix/admin/upstreams/u', {
      key: standIn.adminKey,
      body: upstream,
      signal: client.signal,
    });
    await eventually(() => expect(standIn.requests.at(0)?.body).toBe(JSON.stringify(upstream)));
    client.abort();
    await expect(outcome).rejects.toThrow();
    await eventually(() => expect(standIn.ids('upstreams')).toEqual(['u']));
  });

  test('are cleared by a stop, which keeps the store and the ports', async () => {
    const standIn = await newStandIn();
    await put(standIn, '/upstreams/kept', upstream);
    standIn.addFault({ fault: { kind: 'hang' }, match: ({ path }) => path.endsWith('/hang') });
    standIn.addFault({
      fault: { kind: 'delay', delayMs: 600_000 },
      match: ({ path }) => path.endsWith('/late'),
    });
    const outcomes = Promise.allSettled([
      admin(standIn, 'PUT', '/upstreams/hang', upstream),
      admin(standIn, 'PUT', '/upstreams/late', upstream),
    ]);
    await eventually(() => expect(standIn.requests.filter(({ body }) => body !== undefined)).toHaveLength(3));
    await standIn.stop();
    await standIn.stop();
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    for (const url of [standIn.adminUrl, standIn.controlUrl, standIn.proxyUrl]) {
      await expect(send(url, 'GET', '/')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    }
    await standIn.start();
    await standIn.start();
    expect(standIn.ids('upstreams')).toEqual(['kept']);
    for (const url of [standIn.adminUrl, standIn.controlUrl, standIn.proxyUrl]) {
      expect((await send(url, 'GET', '/')).headers['server']).toBe('APISIX/3.18.0');
    }
  });
});

describe('Control API', () => {
  test('shows upstreams like a worker: with defaults, and nodes as an array', async () => {
    const standIn = await newStandIn({ now: () => 5 });
    const get = (path: string) => send(standIn.controlUrl, 'GET', path);
    expect((await get('/v1/upstreams')).json).toEqual({});
    expect((await get('/v1/healthcheck')).json).toEqual([]);
    await put(standIn, '/upstreams/u', { nodes: { 'a:81': 2, '[::1]': 1 } });
    const item = {
      key: '/apisix/upstreams/u',
      createdIndex: 1,
      modifiedIndex: 1,
      value: {
        id: 'u',
        type: 'roundrobin',
        scheme: 'http',
        hash_on: 'vars',
        pass_host: 'pass',
        nodes: [
          { host: 'a', port: 81, weight: 2 },
          { host: '[::1]', weight: 1 },
        ],
        create_time: 5,
        update_time: 5,
      },
    };
    expect((await get('/v1/upstream/u')).json).toMatchObject(item);
    expect((await get('/v1/upstreams')).json).toMatchObject([item]);
    expect(await get('/v1/upstream/nope')).toMatchObject({
      status: 404,
      json: { error_msg: 'upstream[nope] not found' },
    });
  });
});

/** The upstream `u` in the worker before and after a request. */
async function shownNodes(options: StandInOptions, upstream: object) {
  const standIn = await newStandIn(options);
  await put(standIn, '/upstreams/u', upstream);
  await put(standIn, '/routes/r', { uri: '/*', upstream_id: 'u' });
  const shown = async () => {
    const { json } = await send(standIn.controlUrl, 'GET', '/v1/upstream/u');
    const { nodes, dns_nodes } = (json as { readonly value: Record<string, unknown> }).value;
    return { nodes, ...(dns_nodes === undefined ? {} : { dns_nodes }) };
  };
  const before = await shown();
  await send(standIn.proxyUrl, 'GET', '/');
  return { before, after: await shown() };
}

describe('a worker after the first request', () => {
  const node = { host: '127.0.0.1', port: 9, weight: 1, priority: 0 };
  const other = { ...node, host: '127.0.0.2' };
  const name = { ...node, host: 'localhost' };
  const unknown = { ...node, host: 'unknown.invalid' };
  const used = { ...node, upstream_host: '127.0.0.1:9' };

  test.each([
    ['one node', { nodes: [node] }, { nodes: [used] }],
    ['one LeastConn node', { type: 'least_conn', nodes: [node] }, { nodes: [node] }],
    ['two nodes', { nodes: [node, other] }, { nodes: [node, other] }],
    [
      'standard port',
      { nodes: [{ ...node, port: 80 }] },
      { nodes: [{ ...node, port: 80, upstream_host: '127.0.0.1' }] },
    ],
    [
      'a name',
      { nodes: [name] },
      { nodes: [{ ...used, domain: 'localhost', upstream_host: 'localhost:9' }], dns_nodes: [name] },
    ],
    ['a name that does not resolve', { nodes: [unknown] }, { nodes: {}, dns_nodes: [unknown] }],
    [
      'a name that does not resolve, and an address',
      { nodes: [unknown, node] },
      { nodes: [used], dns_nodes: [unknown, used] },
    ],
    ['no nodes', { nodes: [] }, { nodes: [] }],
  ])('shows like 3.18.0: %s', async (_, upstream, after) => {
    const { nodes } = upstream;
    const withNames = nodes.some(({ host }) => host.includes('l'));
    expect(await shownNodes({}, upstream)).toEqual({
      before: { nodes, ...(withNames ? { dns_nodes: nodes } : {}) },
      after,
    });
  });

  test.each([
    ['3.13.0, a name', '3.13.0', { nodes: [name] }, { nodes: [name] }],
    ['3.17.0, one LeastConn node', '3.17.0', { type: 'least_conn', nodes: [node] }, { nodes: [used] }],
  ])('shows like %s', async (_, version, upstream, after) => {
    const { nodes } = upstream;
    expect(await shownNodes({ version }, upstream)).toEqual({ before: { nodes }, after });
  });

  test('uses the new address of a name', async () => {
    const names = new Map([['shop.test', '127.0.0.1']]);
    const standIn = await newStandIn({ names });
    await put(standIn, '/upstreams/u', { nodes: [{ ...node, host: 'shop.test' }] });
    await put(standIn, '/routes/r', { uri: '/*', upstream_id: 'u' });
    const hosts = async () => {
      await send(standIn.proxyUrl, 'GET', '/');
      const { json } = await send(standIn.controlUrl, 'GET', '/v1/upstream/u');
      const { nodes } = (json as { readonly value: { readonly nodes: unknown } }).value;
      return Array.isArray(nodes) ? nodes.map(({ host }: { host: string }) => host) : nodes;
    };
    expect(await hosts()).toEqual(['127.0.0.1']);
    names.set('shop.test', '127.0.0.2');
    expect(await hosts()).toEqual(['127.0.0.2']);
    names.clear();
    expect(await hosts()).toEqual({});
  });
});

describe('several data planes', () => {
  test('share one store and use separate ports; one that is held back serves the earlier configuration', async () => {
    const standIn = await newStandIn();
    const second = await standIn.addDataPlane();
    expect(standIn.dataPlanes.map(({ controlUrl }) => controlUrl)).toEqual([
      standIn.controlUrl,
      second.controlUrl,
    ]);
    const retriesOf = async (controlUrl: string) => {
      const { status, json } = await send(controlUrl, 'GET', '/v1/upstream/u');
      return status === 404 ? undefined : (json as { value: { retries: number } }).value.retries;
    };
    const both = () => Promise.all(standIn.dataPlanes.map(({ controlUrl }) => retriesOf(controlUrl)));
    await put(standIn, '/upstreams/u', { nodes: NODES, retries: 1 });
    expect(await both()).toEqual([1, 1]);
    second.hold();
    await put(standIn, '/upstreams/u', { nodes: NODES, retries: 2 });
    await put(standIn, '/upstreams/v', { nodes: NODES });
    await put(standIn, '/routes/r', { uri: '/*', upstream_id: 'v' });
    expect(await both()).toEqual([2, 1]);
    expect((await send(second.controlUrl, 'GET', '/v1/upstream/v')).status).toBe(404);
    expect((await send(second.controlUrl, 'GET', '/v1/upstreams')).json).toHaveLength(1);
    expect((await send(second.proxyUrl, 'GET', '/')).json).toEqual({ error_msg: '404 Route Not Found' });
    second.release();
    expect(await both()).toEqual([2, 2]);
    expect(second.requests).toContain('GET /v1/upstream/v');
  });

  test('stop and start independently, and together with the stand-in', async () => {
    const standIn = await newStandIn();
    const second = await standIn.addDataPlane();
    await second.stop();
    await expect(send(second.controlUrl, 'GET', '/v1/upstreams')).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    expect((await send(standIn.controlUrl, 'GET', '/v1/upstreams')).status).toBe(200);
    await second.start();
    expect((await send(second.controlUrl, 'GET', '/v1/upstreams')).status).toBe(200);
    await standIn.stop();
    await expect(send(second.controlUrl, 'GET', '/v1/upstreams')).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });
});

describe('data plane', () => {
  /** A server that returns its name and the received request. */
  async function backend(name: string): Promise<{ readonly port: number; readonly server: Server }> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method, url, headers } = request;
        const body = Buffer.concat(chunks).toString('utf8');
        response.setHeader('server', 'backend');
        response.end(JSON.stringify({ name, method, url, host: headers.host, body }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    return { port: (server.address() as AddressInfo).port, server };
  }

  async function closedPort(): Promise<number> {
    const { port, server } = await backend('gone');
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  const node = (port: number, weight: number, priority = 0) => ({
    host: '127.0.0.1',
    port,
    weight,
    priority,
  });

  async function namesOf(standIn: StandIn, path: string, count: number): Promise<string[]> {
    const names: string[] = [];
    for (let n = 0; n < count; n += 1) {
      const { status, json, text } = await send(standIn.proxyUrl, 'GET', path);
      expect(status, text).toBe(200);
      names.push((json as { name: string }).name);
    }
    return names;
  }

  test('balances by weight over the highest priority, and over all nodes if every weight is 0', async () => {
    const standIn = await newStandIn();
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map(backend));
    if (a === undefined || b === undefined || c === undefined) throw new Error('three backends');
    await put(standIn, '/upstreams/u', { nodes: [node(a.port, 3), node(b.port, 1), node(c.port, 9, -1)] });
    await put(standIn, '/routes/r', { uri: '/*', upstream_id: 'u' });
    expect((await namesOf(standIn, '/x', 8)).join('')).toBe('aabaaaba');
    await put(standIn, '/upstreams/u', { nodes: [node(a.port, 0, 1), node(b.port, 0), node(c.port, 1, -1)] });
    expect((await namesOf(standIn, '/x', 3)).join('')).toBe('ccc');
    await put(standIn, '/upstreams/u', { nodes: [node(a.port, 0, 1), node(b.port, 0), node(c.port, 0, -1)] });
    expect((await namesOf(standIn, '/x', 6)).toSorted().join('')).toBe('aabbcc');
  });

  test('retries the next node if one does not listen, up to `retries`', async () => {
    const standIn = await newStandIn();
    const alive = await backend('alive');
    const dead = await closedPort();
    await put(standIn, '/upstreams/u', { nodes: [node(dead, 100), node(alive.port, 1)] });
    await put(standIn, '/routes/r', { uri: '/*', upstream_id: 'u' });
    expect(await namesOf(standIn, '/x', 3)).toEqual(['alive', 'alive', 'alive']);
    const posted = await send(standIn.proxyUrl, 'POST', '/x', { body: 'b'.repeat(100_000) });
    expect(posted).toMatchObject({
      status: 200,
      json: { name: 'alive', method: 'POST', body: 'b'.repeat(100_000) },
    });
    await put(standIn, '/upstreams/u', { retries: 0, nodes: [node(dead, 100), node(alive.port, 1)] });
    expect((await send(standIn.proxyUrl, 'GET', '/x')).status).toBe(502);
    await put(standIn, '/upstreams/u', { nodes: [node(dead, 1)] });
    expect((await send(standIn.proxyUrl, 'GET', '/x')).status).toBe(502);
  });

  test('handles a node that closes idle connections', async () => {
    const standIn = await newStandIn();
    const { port, server } = await backend('a');
    await put(standIn, '/upstreams/u', { nodes: [node(port, 1)] });
    await put(standIn, '/routes/r', { uri: '/*', upstream_id: 'u' });
    for (let n = 0; n < 5; n += 1) {
      expect(await namesOf(standIn, '/x', 2)).toEqual(['a', 'a']);
      server.closeAllConnections();
    }
  });

  test('reports a missing route or upstream', async () => {
    const standIn = await newStandIn();
    const { port } = await backend('a');
    await put(standIn, '/upstreams/u', { nodes: [] });
    await put(standIn, '/routes/r', { uri: '/x', upstream_id: 'u' });
    const status = async (path: string) => (await send(standIn.proxyUrl, 'GET', path)).status;
    expect(await send(standIn.proxyUrl, 'GET', '/y')).toMatchObject({
      status: 404,
      json: { error_msg: '404 Route Not Found' },
      headers: { server: 'APISIX/3.18.0' },
    });
    expect(await status('/x')).toBe(503);
    await put(standIn, '/upstreams/u', { type: 'roundrobinx', nodes: [node(port, 1)] });
    expect(await status('/x')).toBe(200);
    await put(standIn, '/upstreams/u', { type: 'roundrobinx', nodes: [node(port, 1), node(port + 1, 1)] });
    expect(await status('/x')).toBe(500);
    await admin(standIn, 'DELETE', '/upstreams/u?force=true');
    expect(await status('/x')).toBe(502);
    await put(standIn, '/routes/r', { uri: '/x', plugins: {} });
    expect(await status('/x')).toBe(503);
  });

  test('finds the route by host and path, and the upstream inline or by a service', async () => {
    const standIn = await newStandIn();
    const [any, exact, long, hosted, service] = await Promise.all(
      ['any', 'exact', 'long', 'hosted', 'service'].map(backend),
    );
    const inline = (to: typeof any) => ({ upstream: { nodes: [node(to?.port ?? 0, 1)] } });
    await put(standIn, '/routes/any', { uri: '/*', ...inline(any) });
    await put(standIn, '/routes/long', { uris: ['/api/*', '/other'], ...inline(long) });
    await put(standIn, '/routes/exact', { uri: '/api/x', ...inline(exact) });
    await put(standIn, '/routes/hosted', { uri: '/*', hosts: ['*.example.org'], ...inline(hosted) });
    await put(standIn, '/upstreams/u', {
      nodes: [node(service?.port ?? 0, 1)],
      pass_host: 'rewrite',
      upstream_host: 'up.test',
    });
    await put(standIn, '/services/s', { upstream_id: 'u' });
    await put(standIn, '/routes/service', { uri: '/svc', methods: ['GET'], service_id: 's' });
    const ask = async (path: string, host = 'gateway.test:9080', method = 'GET') =>
      (await send(standIn.proxyUrl, method, path, { headers: { host } })).json;
    expect(await ask('/a?q=1')).toMatchObject({ name: 'any', url: '/a?q=1', host: 'gateway.test:9080' });
    expect(await ask('/api/x')).toMatchObject({ name: 'exact' });
    expect(await ask('/api/y')).toMatchObject({ name: 'long' });
    expect(await ask('/other')).toMatchObject({ name: 'long' });
    expect(await ask('/api/x', 'A.example.org')).toMatchObject({ name: 'hosted' });
    expect(await ask('/svc')).toMatchObject({ name: 'service', host: 'up.test' });
    expect(await ask('/svc', undefined, 'DELETE')).toMatchObject({ name: 'any', method: 'DELETE' });
  });
});
