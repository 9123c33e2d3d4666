import { getEventListeners } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener } from 'node:http';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { TlsSettings } from '../../../../src/runtime/http/agents.ts';
import {
  createHttpClient,
  type HttpClient,
  type HttpClientOptions,
} from '../../../../src/runtime/http/client.ts';
import { HttpError, type HttpFailure } from '../../../../src/runtime/http/failures.ts';
import { MAX_LIST_BYTES, MAX_RESPONSE_BYTES } from '../../../../src/runtime/http/limits.ts';
import { createCertificateAuthority } from '../../../support/control-plane/certificates.ts';
import { eventually } from '../../../support/eventually.ts';
import { closedPort, serveHttp, serveTcp, serveTls } from './servers.ts';

const hasIpv6Loopback = Object.values(networkInterfaces())
  .flat()
  .some((address) => address?.address === '::1');
const never = new AbortController().signal;
const KEY = 'key-0123456789abcdef';
const CONTENT = 'content-of-the-body';
const TIMEOUT_MS = 20_000;

function clientWith(options: Partial<HttpClientOptions> = {}): HttpClient {
  const client = createHttpClient({
    tls: { insecureSkipVerify: false },
    maxConnections: 2,
    connectTimeoutMs: TIMEOUT_MS,
    userAgent: 'test-agent',
    ...options,
  });
  onTestFinished(() => client.close());
  return client;
}

type Call = (client: HttpClient, url: string, signal?: AbortSignal, timeoutMs?: number) => Promise<unknown>;

const headers = { 'X-API-KEY': KEY };

/** All kinds of requests: two with got, one with Node's HTTP client, a list, and a stream of lines. */
const CALLS: Readonly<Record<'GET' | 'DELETE' | 'PUT' | 'list' | 'lines', Call>> = {
  GET: (client, url, signal = never, timeoutMs = TIMEOUT_MS) =>
    client.send({ method: 'GET', url: new URL(url), headers, timeoutMs }, signal),
  DELETE: (client, url, signal = never, timeoutMs = TIMEOUT_MS) =>
    client.send({ method: 'DELETE', url: new URL(url), headers, timeoutMs }, signal),
  PUT: (client, url, signal = never, timeoutMs = TIMEOUT_MS) =>
    client.send({ method: 'PUT', url: new URL(url), headers, timeoutMs, body: { text: CONTENT } }, signal),
  list: (client, url, signal = never, timeoutMs = TIMEOUT_MS) =>
    client.list({ url: new URL(url), headers, timeoutMs, take: () => undefined }, signal),
  lines: (client, url, signal = never, timeoutMs = TIMEOUT_MS) => {
    const body = { text: CONTENT };
    return client.lines({ url: new URL(url), headers, timeoutMs, body, take: () => false }, signal);
  },
};
type CallName = keyof typeof CALLS;
const EVERY_CALL = Object.entries(CALLS) as readonly (readonly [CallName, Call])[];

/** The failure that `promise` rejects with. Asserts that the error contains no part of the request. */
async function failureOf(promise: Promise<unknown>): Promise<HttpFailure> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof HttpError)) throw new Error(`expected an HttpError, got ${inspect(error)}`);
  const shown = `${inspect(error, { depth: 10, showHidden: true, getters: true })} ${error.stack}`;
  for (const secret of [KEY, CONTENT, 'X-API-KEY', 'user-agent']) expect(shown).not.toContain(secret);
  return error.failure;
}

const respond = (
  status: number,
  body: string,
  extra: Record<string, string | number> = {},
): RequestListener => {
  return (request, response) => {
    request.resume().on('end', () => response.writeHead(status, extra).end(body));
  };
};

describe('request', () => {
  it('sends method, path, query, headers and body', async () => {
    const seen: { readonly request: IncomingMessage; readonly body: string }[] = [];
    const { url } = await serveHttp(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      seen.push({ request, body });
      response.writeHead(418, { 'x-answer': 'yes' }).end('{"a":"ü"}');
    });
    const client = clientWith();
    for (const [, call] of EVERY_CALL) {
      expect(await call(client, `${url}/a/b?c=d%20e`)).toMatchObject({
        status: 418,
        headers: { 'x-answer': 'yes' },
        text: '{"a":"ü"}',
      });
    }
    expect(seen.map(({ request: { method, url: path }, body }) => [method, path, body])).toEqual([
      ['GET', '/a/b?c=d%20e', ''],
      ['DELETE', '/a/b?c=d%20e', ''],
      ['PUT', '/a/b?c=d%20e', `{"text":"${CONTENT}"}`],
      ['GET', '/a/b?c=d%20e', ''],
      ['POST', '/a/b?c=d%20e', `{"text":"${CONTENT}"}`],
    ]);
    for (const { request } of seen) {
      expect(request.headers).toMatchObject({ 'x-api-key': KEY, 'user-agent': 'test-agent' });
    }
    const sent = (seen[2]?.request.headers ?? {}) as IncomingHttpHeaders;
    expect(sent['content-type']).toBe('application/json');
    expect(sent['content-length']).toBe(String(`{"text":"${CONTENT}"}`.length));
  });

  it.skipIf(!hasIpv6Loopback)('reaches a server by its IPv6 address', async () => {
    const hosts: (string | undefined)[] = [];
    const { url } = await serveHttp((request, response) => {
      hosts.push(request.headers.host);
      respond(200, '[]')(request, response);
    }, '::1');
    const client = clientWith();
    for (const [, call] of EVERY_CALL) await call(client, url);
    expect(new Set(hosts)).toEqual(new Set([new URL(url).host]));
  });

  it.each([301, 307, 429, 503])('is sent once and not retried or redirected (status %i)', async (status) => {
    let requests = 0;
    const { url } = await serveHttp((request, response) => {
      requests += 1;
      respond(status, '', { location: '/elsewhere', 'retry-after': '0' })(request, response);
    });
    const client = clientWith();
    for (const [, call] of EVERY_CALL) expect(await call(client, url)).toMatchObject({ status });
    expect(requests).toBe(EVERY_CALL.length);
  });

  it.each(EVERY_CALL)('is not sent if its signal has aborted (%s)', async (_, call) => {
    const { url, sockets } = await serveHttp(respond(200, '[]'));
    await expect(call(clientWith(), url, AbortSignal.abort('enough'))).rejects.toBe('enough');
    expect(sockets).toHaveLength(0);
  });

  it.each(EVERY_CALL)("rejects with the signal's reason when the signal aborts (%s)", async (_, call) => {
    const { url, sockets } = await serveHttp(() => undefined);
    const controller = new AbortController();
    const pending = call(clientWith(), url, controller.signal);
    await eventually(() => expect(sockets).toHaveLength(1));
    controller.abort('enough');
    await expect(pending).rejects.toBe('enough');
  });

  it('leaves no listeners on a signal that outlives it', async () => {
    const { url } = await serveHttp(respond(200, '[]'));
    const client = clientWith();
    const { signal } = new AbortController();
    for (const [, call] of EVERY_CALL) {
      await call(client, url, signal);
      await call(client, `${await closedPort()}`, signal).catch(() => undefined);
    }
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('connections', () => {
  it('are reused by requests of both transports', async () => {
    const { url, sockets } = await serveHttp(respond(200, '[]'));
    const client = clientWith();
    for (let round = 0; round < 3; round += 1) {
      for (const [, call] of EVERY_CALL) await call(client, url);
    }
    expect(sockets).toHaveLength(1);
  });

  it('are limited over the requests of both transports', async () => {
    const { url, sockets } = await serveHttp(async (request, response) => {
      await sleep(20);
      respond(200, '[]')(request, response);
    });
    const client = clientWith({ maxConnections: 2 });
    await Promise.all([1, 2, 3].flatMap(() => EVERY_CALL.map(([, call]) => call(client, url))));
    expect(sockets).toHaveLength(2);
  });

  it('are closed with the client: idle ones immediately, the others after their request', async () => {
    const responses: (() => void)[] = [];
    const { url, sockets } = await serveHttp((request, response) => {
      if (request.url === '/idle') respond(200, '[]')(request, response);
      else responses.push(() => respond(200, '"late"')(request, response));
    });
    const client = clientWith();
    await CALLS.GET(client, `${url}/idle`);
    const pending = [CALLS.GET(client, `${url}/busy`), CALLS.PUT(client, `${url}/busy`)];
    await eventually(() => expect(responses).toHaveLength(2));
    client.close();
    for (const send of responses) send();
    for (const response of await Promise.all(pending)) expect(response).toMatchObject({ text: '"late"' });
    await eventually(() => expect(sockets.every(({ destroyed }) => destroyed)).toBe(true));
  });
});

describe('failure', () => {
  it.each(EVERY_CALL)('distinguishes network errors (%s)', async (name, call) => {
    const client = clientWith();
    expect(await failureOf(call(client, await closedPort()))).toEqual({
      kind: 'ConnectionRefused',
      code: 'ECONNREFUSED',
    });
    const cut = await serveHttp((request) => request.destroy());
    expect(await failureOf(call(client, cut.url))).toEqual({ kind: 'ConnectionClosed', code: 'ECONNRESET' });
    const half = await serveHttp((_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('[');
      setImmediate(() => response.destroy());
    });
    expect((await failureOf(call(client, half.url))).kind).toBe('ResponseTruncated');
    const chunked = await serveHttp((_, response) => response.write('[', () => response.destroy()));
    expect((await failureOf(call(client, chunked.url))).kind).toBe('ResponseTruncated');
    const unknown = await failureOf(call(client, 'http://server.invalid'));
    expect(['NameUnknown', 'DnsUnavailable'], name).toContain(unknown.kind);
  });

  it.each(EVERY_CALL)('distinguishes HTTP errors (%s)', async (_, call) => {
    const client = clientWith();
    const ssh = await serveTcp((socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n'));
    expect((await failureOf(call(client, ssh.url))).kind).toBe('NotHttp');
    const notCompressed = await serveHttp(respond(200, '[]', { 'content-encoding': 'gzip' }));
    expect((await failureOf(call(client, notCompressed.url))).kind).toBe('Unusable');
  });

  it.each(EVERY_CALL)('includes a response whose headers exceed the limit (%s)', async (_, call) => {
    const client = clientWith();
    const near = await serveHttp(respond(200, '[]', { 'x-long': 'x'.repeat(15 * 1024) }));
    await expect(call(client, near.url)).resolves.toMatchObject({ status: 200 });
    const above = await serveHttp(respond(200, '[]', { 'x-long': 'x'.repeat(17 * 1024) }));
    expect(await failureOf(call(client, above.url))).toEqual({
      kind: 'NotHttp',
      code: 'HPE_HEADER_OVERFLOW',
    });
  });

  it.each(EVERY_CALL)('includes a server that does not answer in time (%s)', async (_, call) => {
    const { url } = await serveHttp(() => undefined);
    expect(await failureOf(call(clientWith(), url, never, 100))).toEqual({
      kind: 'ResponseTimeout',
      ms: 100,
    });
  });

  it.each(EVERY_CALL)('includes a slow response that exceeds the timeout (%s)', async (_, call) => {
    const { url } = await serveHttp((__, response) => {
      response.write('[');
      const timer = setInterval(() => response.write(' '), 10);
      response.on('close', () => clearInterval(timer));
    });
    const failure = await failureOf(call(clientWith(), url, never, 150));
    expect(failure).toEqual({ kind: 'ResponseTimeout', ms: 150 });
  });

  it.each(EVERY_CALL)(
    'includes a request that waits too long for a free connection (%s)',
    async (_, call) => {
      const { url } = await serveHttp(() => undefined);
      const client = clientWith({ maxConnections: 1 });
      const failures = await Promise.all([1, 2, 3].map(() => failureOf(call(client, url, never, 100))));
      for (const failure of failures) expect(failure.kind).toBe('ResponseTimeout');
    },
  );

  it.each(EVERY_CALL)('includes a connection that is not established in time (%s)', async (_, call) => {
    const { url } = await serveTcp(() => undefined);
    const client = clientWith({ connectTimeoutMs: 100 });
    expect(await failureOf(call(client, url.replace('http:', 'https:')))).toMatchObject({
      kind: 'ConnectTimeout',
      ms: 100,
    });
  });

  it('does not affect later requests', async () => {
    let isBroken = true;
    const { url } = await serveHttp((request, response) => {
      if (isBroken) request.destroy();
      else respond(200, '[]')(request, response);
    });
    const client = clientWith({ maxConnections: 1 });
    for (const [, call] of EVERY_CALL) await failureOf(call(client, url));
    isBroken = false;
    for (const [, call] of EVERY_CALL)
      await expect(call(client, url)).resolves.toMatchObject({ status: 200 });
  });
});

/** Sends `chunk` repeatedly until the client closes the connection. */
function endless(status: number, head: string, chunk: string): RequestListener {
  return (_, response) => {
    response.writeHead(status).write(head);
    const more = () => {
      while (!response.destroyed && response.write(chunk)) {}
    };
    response.on('drain', more);
    more();
  };
}

describe('response that is too large', () => {
  const tooLarge = { kind: 'ResponseTooLarge', maxBytes: MAX_RESPONSE_BYTES };
  const blanks = ' '.repeat(256 * 1024);

  it.each(['GET', 'DELETE', 'PUT'] as const)(
    'is given up by its length, and as it comes (%s)',
    async (name) => {
      const client = clientWith();
      const long = await serveHttp((_, response) =>
        response.writeHead(200, { 'content-length': MAX_RESPONSE_BYTES + 1 }).write(' '),
      );
      expect(await failureOf(CALLS[name](client, long.url))).toEqual(tooLarge);
      const { url } = await serveHttp(endless(200, '', blanks));
      expect(await failureOf(CALLS[name](client, url))).toEqual(tooLarge);
    },
  );

  it('is measured after decompression', async () => {
    const compressed = gzipSync(Buffer.alloc(MAX_RESPONSE_BYTES + 1, ' '));
    const { url } = await serveHttp((_, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(compressed),
    );
    expect(await failureOf(CALLS.GET(clientWith(), url))).toEqual(tooLarge);
  });

  it('has the higher limit of lists only if it is a list', async () => {
    const client = clientWith();
    const long = await serveHttp((_, response) =>
      response.writeHead(200, { 'content-length': MAX_LIST_BYTES + 1 }).write(' '),
    );
    const item = `{"a":"${'x'.repeat(256 * 1024)}"}`;
    const list = await serveHttp(endless(200, `[${item}`, `,${item}`));
    for (const { url } of [long, list]) {
      expect(await failureOf(CALLS.list(client, url))).toEqual({
        kind: 'ListTooLarge',
        maxBytes: MAX_LIST_BYTES,
      });
    }
    const refused = await serveHttp(endless(500, '', blanks));
    expect(await failureOf(CALLS.list(client, refused.url))).toEqual(tooLarge);
  });
});

describe('list', () => {
  const listOf = async (
    body: string,
    path?: readonly string[],
    take: (item: Buffer) => void = () => undefined,
  ) => {
    const { url } = await serveHttp((_, response) => {
      for (const piece of body.match(/.{1,7}/gs) ?? []) response.write(piece);
      response.end();
    });
    const request = { url: new URL(url), timeoutMs: TIMEOUT_MS, take };
    return await clientWith().list({ ...request, ...(path === undefined ? {} : { path }) }, never);
  };

  it.each([
    ['[{"a":1},{"b":[2]}]', undefined, []],
    ['{"items":[{"a":1},{"b":[2]}],"total":2}', 'items', { items: [], total: 2 }],
  ])('passes on the items of %s one by one, and returns the rest', async (body, member, rest) => {
    const items: unknown[] = [];
    const response = await listOf(body, member === undefined ? undefined : [member], (item) =>
      items.push(JSON.parse(item.toString())),
    );
    expect(response).toMatchObject({ status: 200, rest });
    expect(items).toEqual([{ a: 1 }, { b: [2] }]);
  });

  it.each<[string, HttpFailure]>([
    ['<html></html>', { kind: 'NotJson', status: 200 }],
    ['', { kind: 'NotJson', status: 200 }],
    ['[{"a":1}', { kind: 'NotJson', status: 200 }],
    ['[1,2]', { kind: 'NotObjects' }],
  ])('rejects the response %j', async (body, failure) => {
    expect(await failureOf(listOf(body))).toEqual(failure);
  });

  it('rejects with the error that take throws', async () => {
    const thrown = new TypeError('not an item');
    const take = () => {
      throw thrown;
    };
    await expect(listOf('[{}]', undefined, take)).rejects.toBe(thrown);
  });
});

describe('lines', () => {
  /** The lines that `take` receives until it returns true, of a response that stays open after `chunks`. */
  const linesOf = async (chunks: readonly (string | Buffer)[], isLast: (line: string) => boolean) => {
    const closed = Promise.withResolvers<void>();
    const { url } = await serveHttp((request, response) => {
      request.resume();
      response.on('close', () => closed.resolve());
      for (const chunk of chunks) response.write(chunk);
    });
    const lines: string[] = [];
    const take = (line: string) => {
      lines.push(line);
      return isLast(line);
    };
    const request = { url: new URL(url), timeoutMs: TIMEOUT_MS, body: {}, take };
    const response = await clientWith().lines(request, never);
    await closed.promise;
    return { lines, response };
  };

  it('passes on each line when it is complete, and closes the connection when take returns true', async () => {
    const { lines, response } = await linesOf(
      ['{"a":', '1}\n{"b":2}\n', '\nend\nmore\n'],
      (line) => line === 'end',
    );
    expect(lines).toEqual(['{"a":1}', '{"b":2}', '', 'end']);
    expect(response).toMatchObject({ status: 200 });
  });

  it('cuts a line after 64 KiB, and reads the next one', async () => {
    const long = Buffer.alloc(5 * 1024 * 1024, 'x');
    const { lines } = await linesOf([long, '\nnext\n'], (line) => line === 'next');
    expect(lines.map(({ length }) => length)).toEqual([64 * 1024, 4]);
  });

  it('ends when the server ends the stream, and drops an incomplete line', async () => {
    const lines: string[] = [];
    const { url } = await serveHttp(respond(200, 'first\ncut'));
    const request = {
      url: new URL(url),
      timeoutMs: TIMEOUT_MS,
      body: {},
      take: (line: string) => lines.push(line) < 0,
    };
    await expect(clientWith().lines(request, never)).resolves.toMatchObject({ status: 200 });
    expect(lines).toEqual(['first']);
  });

  it('rejects with the reason of the signal while the stream is open', async () => {
    const stop = new AbortController();
    const { url } = await serveHttp((_, response) => void response.write('first\n'));
    const take = () => {
      stop.abort(new Error('enough'));
      return false;
    };
    const request = { url: new URL(url), timeoutMs: TIMEOUT_MS, body: {}, take };
    await expect(clientWith().lines(request, stop.signal)).rejects.toThrow('enough');
  });
});

describe('TLS', () => {
  const authority = createCertificateAuthority();
  const stranger = createCertificateAuthority();
  const server = authority.issue({
    commonName: 'server',
    hosts: ['127.0.0.1', 'server.test'],
    usage: 'server',
  });
  const client = authority.issue({ commonName: 'client', hosts: [], usage: 'client' });
  const files = { key: server.keyPem, cert: server.certPem };
  const trusting: TlsSettings = { ca: authority.certPem, insecureSkipVerify: false };
  const withClient: TlsSettings = { ...trusting, clientCert: client.certPem, clientKey: client.keyPem };
  const mutual = { ...files, ca: authority.certPem, requestCert: true, rejectUnauthorized: true };

  it.each<[string, TlsSettings]>([
    ['the authority and a client certificate', withClient],
    ['several authorities', { ...withClient, ca: `${stranger.certPem}\n${authority.certPem}` }],
    ['a server name', { ...withClient, serverName: 'server.test' }],
    ['no verification', { ...withClient, ca: stranger.certPem, insecureSkipVerify: true }],
  ])('works with %s', async (_, tls) => {
    const { url } = await serveTls(mutual, respond(200, '[]'));
    for (const [, call] of EVERY_CALL) {
      await expect(call(clientWith({ tls }), url)).resolves.toMatchObject({ status: 200 });
    }
  });

  it.each<[string, TlsSettings, HttpFailure['kind']]>([
    ['an unknown authority', { insecureSkipVerify: false }, 'CertificateUntrusted'],
    ['another authority', { ...withClient, ca: stranger.certPem }, 'CertificateUntrusted'],
    ['another server name', { ...withClient, serverName: 'other.test' }, 'CertificateUntrusted'],
    ['no client certificate', trusting, 'TlsRefused'],
  ])('fails with %s', async (_, tls, kind) => {
    let requests = 0;
    const { url } = await serveTls(mutual, () => {
      requests += 1;
    });
    for (const [name, call] of EVERY_CALL) {
      expect((await failureOf(call(clientWith({ tls }), url))).kind, name).toBe(kind);
    }
    expect(requests).toBe(0);
  });

  it.each(EVERY_CALL)('fails between an HTTPS and an HTTP endpoint (%s)', async (_, call) => {
    const plain = await serveHttp(respond(200, '[]'));
    const toPlain = call(clientWith({ tls: trusting }), plain.url.replace('http:', 'https:'));
    expect((await failureOf(toPlain)).kind).toBe('TlsFailed');
    const secure = await serveTls(files, respond(200, '[]'));
    const toSecure = call(clientWith(), secure.url.replace('https:', 'http:'));
    expect((await failureOf(toSecure)).kind).toBe('ConnectionClosed');
  });
});
