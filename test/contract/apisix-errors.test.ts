import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { symbols } from 'pino';
import { describe, expect, it } from 'vitest';
import { ownerMark } from '../../src/decide/ownership.ts';
import type { ApisixOptions } from '../../src/gateways/apisix/client.ts';
import { createApisixDriver } from '../../src/gateways/apisix/driver.ts';
import type { GatewayDriver } from '../../src/gateways/driver.ts';
import {
  complaintText,
  GatewayAuthError,
  GatewayRejectedError,
  GatewayUnavailableError,
  OperatorError,
  UpstreamInUseError,
} from '../../src/model/errors.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { createLog } from '../../src/runtime/log.ts';
import { type Fault, type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { createCertificateAuthority } from '../support/control-plane/certificates.ts';

const KEY = 'secret-admin-key-0123456789abcdef';
const BODY = 'content-of-the-body';
const unused = new AbortController().signal;
const upstream: Upstream = {
  id: 'u1',
  labels: { marker: BODY },
  nodes: [],
  scheme: 'HTTP',
  loadBalancing: { type: 'RoundRobin' },
};

const MARK = ownerMark(
  { cluster: 'c', connection: 'default', namespace: 'shop', name: 'web' },
  { retain: false },
);

function driverOf(adminUrl: string, options: Partial<ApisixOptions> = {}): GatewayDriver {
  return createApisixDriver({
    adminUrl,
    adminKey: KEY,
    tls: { insecureSkipVerify: false },
    concurrency: 2,
    requestTimeoutMs: 60_000,
    ...options,
  });
}

type Call = keyof typeof calls;
const calls = {
  get: (driver: GatewayDriver) => driver.get('u1', unused),
  list: (driver: GatewayDriver) => driver.list(unused),
  put: (driver: GatewayDriver) => driver.put(upstream, unused),
  mark: (driver: GatewayDriver) => driver.mark('u1', { ...MARK, name: BODY }, unused),
  checkWrite: (driver: GatewayDriver) => driver.checkWrite(unused),
  delete: (driver: GatewayDriver) => driver.delete('u1', { references: 'ignore' }, unused),
  check: (driver: GatewayDriver) => driver.check(unused),
};
const CALLS = Object.keys(calls) as readonly Call[];

/** The OperatorError that `promise` rejects with. Checks that no form of it contains a secret. */
async function failureOf(promise: Promise<unknown>): Promise<OperatorError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof OperatorError)) throw new Error(`no failure of a gateway: ${inspect(error)}`);
  expect(error.message).not.toMatch(/[\p{Cc}]/u);
  expect(error.message.length).toBeLessThan(900);
  // `check` prints both separately, with the remedy as a sentence.
  expect(error.message).toBe(complaintText(error));
  expect(error.remedy ?? 'correct it').toMatch(/^[a-z]+ .*[^.?!]$/);
  for (const text of writtenDown(error)) {
    expect(text).toContain(error.name);
    for (const secret of [
      KEY,
      KEY.slice(0, 12),
      BODY,
      'req_body',
      'X-API-KEY',
      'followRedirect',
      'user-agent',
    ]) {
      expect(text.toLowerCase()).not.toContain(secret.toLowerCase());
    }
  }
  return error;
}

function writtenDown(error: OperatorError): readonly string[] {
  const lines: string[] = [];
  const log = createLog('trace');
  Object.assign(log, { [symbols.streamSym]: { write: (line: string) => lines.push(line) } });
  log.error({ err: error }, 'as an error');
  log.error({ failure: error, name: error.name }, 'as a property');
  log.error(error, 'as the fields');
  log.child({ err: error }).debug({}, 'as a binding');
  expect(lines).toHaveLength(4);
  const inspected = inspect(error, { depth: 10, showHidden: true, getters: true });
  const properties = JSON.stringify({ ...error, cause: error.cause });
  return [...lines, inspected, properties, `${error.name} ${error.stack}`];
}

async function withFault<T>(fault: Fault, use: (standIn: StandIn) => Promise<T>): Promise<T> {
  await using standIn = await startStandIn({ adminKey: KEY });
  standIn.addFault({ fault });
  return await use(standIn);
}

const html = (status: number) => `<html><head><title>${status}</title></head><body>nginx</body></html>`;
const echo = JSON.stringify({ error_msg: `you sent ${KEY} and\r\n\u0000 more`, req_body: BODY });

const ANSWERS: readonly {
  readonly status: number;
  readonly body: string;
  readonly error: abstract new (...args: never) => OperatorError;
  readonly message: string | RegExp;
  /** The calls. Default: all. */
  readonly on?: readonly Call[];
}[] = [
  {
    status: 401,
    body: '{"error_msg":"failed to check token","description":"wrong apikey"}',
    error: GatewayAuthError,
    message: '(401, wrong apikey): correct the key in the Secret of spec.apisix.adminKeySecretRef',
  },
  {
    status: 401,
    body: '{"error_msg":"failed to check token","description":"missing apikey"}',
    error: GatewayAuthError,
    message: '(401, missing apikey): correct the key',
  },
  {
    status: 401,
    body: '{"error_msg":"failed to check token","description":"invalid method for role viewer"}',
    error: GatewayAuthError,
    message: 'which is read-only: use a key with role admin',
  },
  { status: 401, body: html(401), error: GatewayAuthError, message: '(401, no reason given)' },
  {
    status: 403,
    body: html(403),
    error: GatewayAuthError,
    message: 'The gateway rejected the address of the operator (403): add it to deployment.admin.allow_admin',
    on: ['get', 'list', 'check'],
  },
  // An address that may not read may not write either, so there is no case for writes.
  {
    status: 403,
    body: html(403),
    error: GatewayAuthError,
    message:
      /rejected the (PUT|PATCH|DELETE) request \(403\): allow GET, PUT, PATCH and DELETE requests from the operator/,
    on: ['put', 'mark', 'checkWrite', 'delete'],
  },
  { status: 404, body: html(404), error: GatewayUnavailableError, message: 'Admin API of APISIX' },
  {
    status: 404,
    body: '{"error_msg":"Unsupported resource type: upstreams"}',
    error: GatewayUnavailableError,
    message: /Admin API of APISIX on etcd( does not)?: correct spec[.]apisix[.]adminUrl$/,
  },
  {
    status: 404,
    body: '{"message":"Not Found"}',
    error: GatewayUnavailableError,
    message: 'correct spec.apisix.adminUrl',
  },
  {
    status: 404,
    body: '{"message":"Key not found"}',
    error: GatewayUnavailableError,
    message: 'correct spec.apisix.adminUrl',
    on: ['list', 'put', 'check'],
  },
  ...[301, 302, 303, 304, 307, 308].map((status) => ({
    status,
    body: '',
    error: GatewayUnavailableError,
    message: `answered with a redirect (${status}), which the operator does not follow, because the request contains the admin key: correct spec.apisix.adminUrl`,
  })),
  {
    status: 400,
    body: '{"error_msg":"invalid configuration: property \\"type\\" is wrong"}',
    error: GatewayRejectedError,
    message:
      'The gateway rejected the upstream (400, invalid configuration: property "type" is wrong): correct',
    on: ['put'],
  },
  {
    status: 422,
    body: '{"error_msg":"no such type"}',
    error: GatewayRejectedError,
    message: '(422, no such type): correct',
    on: ['put'],
  },
  {
    status: 400,
    body: echo,
    error: GatewayRejectedError,
    message: '(400, you sent [redacted] and more): correct',
    on: ['put'],
  },
  {
    status: 400,
    body: JSON.stringify({ error_msg: `${'x'.repeat(495)}${KEY}${'y'.repeat(5000)}` }),
    error: GatewayRejectedError,
    message: /\(400, x{495}\[redacted\]y{4}\.\.\.\): correct/,
    on: ['put'],
  },
  {
    status: 400,
    body: '{"error_msg":{"nested":"reason"}}',
    error: GatewayRejectedError,
    message: '(400, no reason given): correct',
    on: ['put'],
  },
  {
    status: 400,
    body: 'page_size must be between 10 and 500',
    error: GatewayUnavailableError,
    message:
      'answered 400 without JSON: check that spec.apisix.adminUrl is the address of the Admin API of APISIX',
  },
  {
    status: 400,
    body: '{"error_msg":"bad read"}',
    error: GatewayUnavailableError,
    message: 'answered 400 (bad read): check',
    on: ['get', 'list', 'check'],
  },
  {
    status: 400,
    body: '<center>The plain HTTP request was sent to HTTPS port</center>',
    error: GatewayUnavailableError,
    message: 'requires TLS: use https:// in spec.apisix.adminUrl',
  },
  {
    status: 400,
    body: '{"error_msg":"can not delete this upstream, route [r1] is still using it now"}',
    error: GatewayRejectedError,
    message: 'can not delete',
    on: ['put'],
  },
  {
    status: 413,
    body: html(413),
    error: GatewayRejectedError,
    message: 'because it is too large (413',
    on: ['put'],
  },
  {
    status: 413,
    body: '{"error_msg":"request size 2 is greater than 1"}',
    error: GatewayRejectedError,
    message: 'too large (413, request size 2 is greater than 1)',
    on: ['put'],
  },
  {
    status: 409,
    body: '{"error_msg":"busy"}',
    error: GatewayUnavailableError,
    message: 'answered 409 (busy): check',
  },
  { status: 429, body: '', error: GatewayUnavailableError, message: 'answered 429 without JSON' },
  {
    status: 500,
    body: html(500),
    error: GatewayUnavailableError,
    message: /answered 500 without JSON: check the log of the gateway$/,
  },
  {
    status: 500,
    body: echo,
    error: GatewayUnavailableError,
    message: 'answered 500 (you sent [redacted] and more): check the log of the gateway',
  },
  { status: 502, body: html(502), error: GatewayUnavailableError, message: 'answered 502' },
  {
    status: 503,
    body: '{"error_msg":"has no healthy etcd endpoint available"}',
    error: GatewayUnavailableError,
    message: 'answered 503 (has no healthy etcd endpoint available): check the log of the gateway',
  },
  { status: 202, body: '{"value":{}}', error: GatewayUnavailableError, message: 'answered 202' },
  {
    status: 200,
    body: '{"value":',
    error: GatewayUnavailableError,
    message: 'answered 200 without JSON: check that',
  },
  {
    status: 200,
    body: html(200),
    error: GatewayUnavailableError,
    message: 'answered 200 without JSON: check that',
  },
  { status: 200, body: '', error: GatewayUnavailableError, message: 'answered 200 without JSON: check that' },
  ...['{}', 'null', '[]', '"text"', '{"ok":true}', '{"value":"text","list":"text"}'].map((body) => ({
    status: 200,
    body,
    error: GatewayUnavailableError,
    message: 'Admin API of APISIX',
  })),
];

describe('a response that is not a success', () => {
  it.each(ANSWERS)(
    'becomes an error with a remedy: $status $body',
    async ({ status, body, error, message, on = CALLS }) => {
      await withFault(
        { kind: 'answer', status, body, contentType: 'text/html' },
        async ({ adminUrl, requests }) => {
          for (const call of on) {
            const failure = await failureOf(calls[call](driverOf(adminUrl)));
            expect(failure, call).toBeInstanceOf(error);
            expect(failure.message, call).toMatch(message);
          }
          expect(requests).toHaveLength(on.length);
        },
      );
    },
  );

  it('quotes the gateway if the upstream is in use', async () => {
    const body = '{"error_msg":"can not delete this upstream, service [s1] is still using it now"}';
    await using standIn = await startStandIn({ adminKey: KEY });
    const driver = driverOf(standIn.adminUrl);
    await driver.put(upstream, unused);
    standIn.addFault({
      fault: { kind: 'answer', status: 400, body },
      match: ({ method }) => method === 'DELETE',
    });
    const failure = await failureOf(driver.delete('u1', { references: 'respect' }, unused));
    expect(failure).toBeInstanceOf(UpstreamInUseError);
    expect(failure.message).toBe('can not delete this upstream, service [s1] is still using it now');
  });

  it('is reported for a deletion that is rejected for another reason', async () => {
    await withFault(
      { kind: 'answer', status: 400, body: '{"error_msg":"wrong id"}' },
      async ({ adminUrl }) => {
        expect(await failureOf(calls.delete(driverOf(adminUrl)))).toBeInstanceOf(GatewayRejectedError);
      },
    );
  });

  it('is reported for an upstream that the gateway rejects', async () => {
    await using standIn = await startStandIn({ adminKey: KEY, viewerKey: 'viewer' });
    const wrongKey = await failureOf(calls.list(driverOf(standIn.adminUrl, { adminKey: 'another' })));
    expect(wrongKey.message).toContain('(401, wrong apikey)');
    const viewer = driverOf(standIn.adminUrl, { adminKey: 'viewer' });
    expect((await viewer.list(unused)).upstreams.size).toBe(0);
    expect((await failureOf(calls.put(viewer))).message).toContain('which is read-only');
    const bad = { ...upstream, nodes: [{ host: 'no host', port: 80, weight: 1, priority: 0 }] };
    const rejected = await failureOf(driverOf(standIn.adminUrl).put(bad, unused));
    expect(rejected).toBeInstanceOf(GatewayRejectedError);
    const large = { ...upstream, labels: { a: 'x'.repeat(2_000_000) } };
    const tooLarge = await failureOf(driverOf(standIn.adminUrl).put(large, unused));
    expect(tooLarge).toBeInstanceOf(GatewayRejectedError);
    expect(tooLarge.message).toContain('it is too large');
  });

  it('is reported for a redirect, without sending the key to its target', async () => {
    await using elsewhere = await startStandIn({ adminKey: KEY });
    const location = `${elsewhere.adminUrl}/apisix/admin/upstreams?token=in-the-query`;
    await withFault({ kind: 'answer', status: 307, headers: { location } }, async ({ adminUrl }) => {
      for (const call of CALLS) {
        const { message } = await failureOf(calls[call](driverOf(adminUrl)));
        expect(message).not.toContain('in-the-query');
      }
    });
    expect(elsewhere.requests).toHaveLength(0);
  });
});

describe('Retry-After', () => {
  const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toUTCString();

  it.each([
    [429, '7', 7000, 7000],
    [503, '0', 0, 0],
    [503, '100000', 300_000, 300_000],
    [500, '9'.repeat(400), 300_000, 300_000],
    [409, inSeconds(3600), 300_000, 300_000],
    [503, inSeconds(200), 60_000, 200_000],
    [503, 'Mon, 01 Jan 2001 00:00:00 GMT', 0, 0],
  ])('is limited: %i with %s', async (status, value, leastMs, mostMs) => {
    for (const body of ['{"error_msg":"later"}', html(status)]) {
      await withFault(
        { kind: 'answer', status, body, headers: { 'retry-after': value } },
        async ({ adminUrl }) => {
          const failure = await failureOf(calls.put(driverOf(adminUrl)));
          expect(failure).toMatchObject({ reason: 'GatewayUnavailable', retryAfterMs: expect.any(Number) });
          const { retryAfterMs } = failure as GatewayUnavailableError;
          expect(retryAfterMs).toBeGreaterThanOrEqual(leastMs);
          expect(retryAfterMs).toBeLessThanOrEqual(mostMs);
        },
      );
    }
  });

  it.each(['soon', '-5', '1.5', '2030-01-01', 'GMT', ''])('is ignored: %j', async (value) => {
    await withFault(
      { kind: 'answer', status: 503, headers: { 'retry-after': value } },
      async ({ adminUrl }) => {
        const failure = await failureOf(calls.put(driverOf(adminUrl)));
        expect(failure).toMatchObject({ reason: 'GatewayUnavailable', retryAfterMs: undefined });
      },
    );
  });
});

/** A server that runs for one test. */
async function listening(server: Server): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

describe('a request without a response', () => {
  async function expectUnavailable(
    driver: GatewayDriver,
    message: string | RegExp,
    on = CALLS,
  ): Promise<void> {
    for (const call of on) {
      const failure = await failureOf(calls[call](driver));
      expect(failure, call).toBeInstanceOf(GatewayUnavailableError);
      expect(failure.message, call).toMatch(message);
      expect(failure.cause, call).toBeUndefined();
    }
    driver.close();
  }

  it('is reported: connection refused', async () => {
    const standIn = await startStandIn();
    await standIn.stop();
    await expectUnavailable(driverOf(standIn.adminUrl), `${standIn.adminUrl} refused the connection`);
  });

  it.each<[Fault, string]>([
    [{ kind: 'cut' }, 'closed the connection without an answer'],
    [{ kind: 'cut', apply: 'before' }, 'closed the connection without an answer'],
    [{ kind: 'cut', after: 'headers' }, 'closed the connection in the middle of its answer'],
    [{ kind: 'cut', after: 'half-body' }, 'closed the connection in the middle of its answer'],
  ])('is reported: %o', async (fault, message) => {
    await withFault(fault, ({ adminUrl }) => expectUnavailable(driverOf(adminUrl), message));
  });

  it('is reported: a chunked response that ends early', async () => {
    const server = createHttpServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"list":[', () => response.destroy());
    });
    await using running = await listening(server);
    const driver = driverOf(`http://127.0.0.1:${running.port}`);
    await expectUnavailable(driver, 'closed the connection in the middle of its answer');
  });

  it('is reported: a response with a wrong content encoding', async () => {
    await withFault(
      { kind: 'answer', status: 200, body: '{"list":[]}', headers: { 'content-encoding': 'gzip' } },
      ({ adminUrl }) => expectUnavailable(driverOf(adminUrl), /no usable answer \(ERR_/),
    );
  });

  it('is reported: a hanging gateway', async () => {
    await withFault({ kind: 'hang' }, async ({ adminUrl }) => {
      await expectUnavailable(driverOf(adminUrl, { requestTimeoutMs: 250 }), 'did not answer within 250 ms');
    });
  });

  it('is reported: a hanging gateway, for a write that waits for a connection', async () => {
    await withFault({ kind: 'hang' }, async ({ adminUrl }) => {
      const driver = driverOf(adminUrl, { requestTimeoutMs: 250, concurrency: 1 });
      const failures = await Promise.all([1, 2, 3].map(() => failureOf(calls.put(driver))));
      for (const { message } of failures) expect(message).toMatch('did not answer within 250 ms');
      driver.close();
    });
  });

  it('is reported: a response before the end of the request', async () => {
    const server = createTcpServer((socket) => {
      socket.once('data', () => {
        socket.pause();
        socket.write('HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\n{}');
      });
    });
    await using running = await listening(server);
    const driver = driverOf(`http://127.0.0.1:${running.port}`, { requestTimeoutMs: 20_000, concurrency: 1 });
    const large = { ...upstream, description: 'x'.repeat(16 * 1024 * 1024) };
    for (let write = 0; write < 3; write += 1) {
      expect((await failureOf(driver.put(large, unused))).message).toMatch('it is too large');
    }
    driver.close();
  });

  it('is reported: a hanging TLS handshake, long before the request timeout', async () => {
    await using server = await listening(createTcpServer());
    const driver = driverOf(`https://127.0.0.1:${server.port}`);
    await expectUnavailable(driver, 'did not accept a connection within 5000 ms (secureConnect)', ['check']);
  });

  it('is reported: a response that is not HTTP', async () => {
    await using server = await listening(createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n')));
    await expectUnavailable(driverOf(`http://127.0.0.1:${server.port}`), 'an answer that is not HTTP');
  });

  it('is reported: a name that does not resolve', async () => {
    await expectUnavailable(driverOf('http://gateway.invalid:9180'), 'does not resolve', ['check']);
  });

  /** Sends `chunk` until the client closes the connection. */
  const endless = (head: string, chunk: string): RequestListener => {
    return (_, response) => {
      response.write(head);
      const more = () => {
        while (!response.destroyed && response.write(chunk)) {}
      };
      response.on('drain', more);
      more();
    };
  };
  const item = `{"key":"/apisix/upstreams/a","value":{"desc":"${'x'.repeat(65_536)}"}}`;
  // 69 MiB that compress to less than 1 MiB.
  const compressed = gzipSync(`{"list":[${`${item},`.repeat(1100)}`);
  const zeros: RequestListener = (_, response) =>
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(compressed);
  const LIST = 'has more than 48 MiB of upstreams, which exceeds the limit of the operator: delete unused';
  const ANSWER =
    'sent an answer larger than 16 MiB: check that spec.apisix.adminUrl is the address of the Admin API';

  it.each<[string, RequestListener, { readonly list: string; readonly check: string }]>([
    [
      'with a large Content-Length',
      (_, response) => response.writeHead(200, { 'content-length': 2 ** 40 }).write('{'),
      { list: LIST, check: ANSWER },
    ],
    ['without an end', endless(`{"list":[${item}`, `,${item}`), { list: LIST, check: ANSWER }],
    ['with one item without an end', endless('{"list":[{"key":"', item), { list: LIST, check: ANSWER }],
    ['with only blanks', endless('', ' '.repeat(1024 * 1024)), { list: 'without JSON', check: ANSWER }],
    ['that is small only while it is compressed', zeros, { list: LIST, check: ANSWER }],
  ])('is reported before it fills the memory: a response %s', async (_, onRequest, expected) => {
    await using server = await listening(createHttpServer(onRequest));
    const driver = () => driverOf(`http://127.0.0.1:${server.port}`);
    await expectUnavailable(driver(), expected.list, ['list']);
    await expectUnavailable(driver(), expected.check, ['check']);
  });
});

describe('TLS', () => {
  const authority = createCertificateAuthority();
  const server = authority.issue({
    commonName: 'apisix',
    hosts: ['127.0.0.1', 'apisix.test'],
    usage: 'server',
  });
  const client = authority.issue({ commonName: 'operator', hosts: [], usage: 'client' });
  const files = { key: server.keyPem, cert: server.certPem };
  const trusting = { ca: authority.certPem, insecureSkipVerify: false };
  const withClient = { ...trusting, clientCert: client.certPem, clientKey: client.keyPem };
  const stranger = createCertificateAuthority();
  const strangeClient = stranger.issue({ commonName: 'operator', hosts: [], usage: 'client' });

  it.each<[string, ApisixOptions['tls'], string]>([
    ['an unknown certificate authority', { insecureSkipVerify: false }, 'not trusted'],
    [
      'a different certificate authority',
      { ca: stranger.certPem, insecureSkipVerify: false },
      'set caSecretRef to the CA of the gateway, or serverName to a name in its certificate',
    ],
    [
      'a different server name',
      { ...withClient, serverName: 'other.test' },
      'not trusted (ERR_TLS_CERT_ALTNAME_INVALID)',
    ],
    ['no client certificate', trusting, 'spec.apisix.tls.clientCertificateSecretRef'],
    [
      'a client certificate of a different authority',
      { ...trusting, clientCert: strangeClient.certPem, clientKey: strangeClient.keyPem },
      'spec.apisix.tls.clientCertificateSecretRef',
    ],
  ])('reports %s', async (_, tls, message) => {
    await using standIn = await startStandIn({ tls: { ...files, clientCa: authority.certPem } });
    for (const call of CALLS) {
      const failure = await failureOf(calls[call](driverOf(standIn.adminUrl, { tls })));
      expect(failure).toBeInstanceOf(GatewayUnavailableError);
      expect(failure.message).toContain(message);
    }
    expect(standIn.requests).toHaveLength(0);
  });

  it('works after the remedies are applied', async () => {
    await using standIn = await startStandIn({
      adminKey: KEY,
      tls: { ...files, clientCa: authority.certPem },
    });
    const bundle = { ...withClient, ca: `# ours\n${stranger.certPem}\n# theirs\n${authority.certPem}` };
    for (const tls of [
      withClient,
      bundle,
      { ...withClient, serverName: 'apisix.test' },
      { clientCert: client.certPem, clientKey: client.keyPem, insecureSkipVerify: true },
    ]) {
      const driver = driverOf(standIn.adminUrl, { tls });
      expect(await driver.check(unused)).toEqual({ version: '3.18.0' });
      driver.close();
    }
  });

  it('reports plain HTTP to a TLS port', async () => {
    await using standIn = await startStandIn({ tls: files });
    const driver = driverOf(standIn.adminUrl.replace('https:', 'http:'));
    expect((await failureOf(calls.check(driver))).message).toContain(
      'whether spec.apisix.adminUrl must start with https://',
    );
  });

  it('reports TLS to a plain HTTP port', async () => {
    await using standIn = await startStandIn();
    const driver = driverOf(standIn.adminUrl.replace('http:', 'https:'));
    const { message } = await failureOf(calls.check(driver));
    expect(message).toContain('or use http:// in spec.apisix.adminUrl');
  });

  it.each<[string, Partial<ApisixOptions['tls']>, string]>([
    ['an invalid certificate authority', { ca: 'junk' }, 'caSecretRef must contain only PEM certificates'],
    ['an empty certificate authority', { ca: '' }, 'caSecretRef must contain only PEM certificates'],
    [
      'a key as certificate authority',
      { ca: client.keyPem },
      'caSecretRef must contain only PEM certificates',
    ],
    [
      'an invalid certificate after a valid one',
      { ca: `${authority.certPem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n` },
      'caSecretRef must contain only PEM certificates',
    ],
    ['a certificate without its key', { clientCert: client.certPem }, 'both a certificate and its key'],
    ['a key without its certificate', { clientKey: client.keyPem }, 'both a certificate and its key'],
    ['an invalid certificate', { clientCert: 'junk', clientKey: client.keyPem }, 'holds no PEM certificate'],
    ['an invalid key', { clientCert: client.certPem, clientKey: 'junk' }, 'holds no unencrypted PEM key'],
    ['an empty key', { clientCert: client.certPem, clientKey: '' }, 'holds no unencrypted PEM key'],
    [
      'a key of another certificate',
      { clientCert: client.certPem, clientKey: server.keyPem },
      'does not match its certificate',
    ],
  ])('rejects %s before any connection', (_, tls, message) => {
    const create = () => driverOf('https://127.0.0.1:1', { tls: { insecureSkipVerify: false, ...tls } });
    expect(create).toThrow(message);
    expect(create).not.toThrow(/PRIVATE KEY|junk/);
  });
});

describe('an aborted call', () => {
  it.each(['hang', 'cut'] as const)('rejects with the reason of its signal: %s', async (kind) => {
    await withFault({ kind }, async ({ adminUrl }) => {
      const controller = new AbortController();
      const reason = { why: 'no error at all' };
      const pending = driverOf(adminUrl).put(upstream, controller.signal);
      controller.abort(reason);
      await expect(pending).rejects.toBe(reason);
    });
  });

  it('rejects with the timeout of its caller', async () => {
    await withFault({ kind: 'hang' }, async ({ adminUrl }) => {
      const pending = driverOf(adminUrl).list(AbortSignal.timeout(100));
      await expect(pending).rejects.toMatchObject({ name: 'TimeoutError', message: expect.any(String) });
      await expect(pending).rejects.not.toBeInstanceOf(OperatorError);
    });
  });
});

describe('the admin key', () => {
  it.each([` ${KEY}\n`, `${KEY}\r\n`, `\t${KEY}`, `\uFEFF${KEY}`])('is trimmed: %j', async (adminKey) => {
    await using standIn = await startStandIn({ adminKey: KEY });
    expect(await driverOf(standIn.adminUrl, { adminKey }).check(unused)).toEqual({ version: '3.18.0' });
  });

  it('can contain any character of a header', async () => {
    const adminKey = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ with space';
    await using standIn = await startStandIn({ adminKey });
    expect(await driverOf(standIn.adminUrl, { adminKey }).check(unused)).toEqual({ version: '3.18.0' });
  });

  it.each([
    ['', 'is empty'],
    [' \n', 'is empty'],
    [`${KEY}\n${KEY}`, 'check the Secret for line breaks'],
    [`${KEY}\u0000`, 'contains invalid characters'],
    ['schlüssel', 'contains invalid characters'],
  ])('is rejected before any request: %j', async (adminKey, message) => {
    await using standIn = await startStandIn();
    for (const call of CALLS) {
      const failure = await failureOf(calls[call](driverOf(standIn.adminUrl, { adminKey })));
      expect(failure).toBeInstanceOf(GatewayAuthError);
      expect(failure.message).toContain(message);
    }
    expect(standIn.requests).toHaveLength(0);
  });
});

describe('the admin URL', () => {
  it.each([
    ['', '/apisix/admin/upstreams'],
    ['/', '/apisix/admin/upstreams'],
    ['/apisix/admin', '/apisix/admin/upstreams'],
    ['/apisix/admin/', '/apisix/admin/upstreams'],
    ['/apisix/admin//', '/apisix/admin/upstreams'],
    ['/edge', '/edge/apisix/admin/upstreams'],
    ['/edge/apisix/admin/', '/edge/apisix/admin/upstreams'],
    ['//elsewhere.invalid/edge', '//elsewhere.invalid/edge/apisix/admin/upstreams'],
    ['/?a=b#c', '/apisix/admin/upstreams'],
  ])('can end in %j', async (suffix, path) => {
    await using standIn = await startStandIn({ adminKey: KEY });
    await driverOf(`${standIn.adminUrl}${suffix}`).list(unused).catch(failureAsIs);
    expect(standIn.requests.map((request) => request.path)).toEqual([path]);
  });

  it.each([
    ['http://user:pass@127.0.0.1:9180', 'must not contain credentials'],
    ['http://user@127.0.0.1:9180', 'must not contain credentials'],
    ['ftp://127.0.0.1', 'must start with http:// or https://'],
    ['unix:/run/apisix.sock', 'must start with http:// or https://'],
    ['127.0.0.1:9180', 'is not a valid URL'],
    ['apisix-admin:9180', 'must start with http:// or https://'],
    ['', 'is not a valid URL'],
  ])('is rejected: %j', (adminUrl, message) => {
    expect(() => driverOf(adminUrl)).toThrow(message);
    expect(() => driverOf(adminUrl)).not.toThrow(/pass@|user/);
  });
});

/** The stand-in does not serve a prefix. Only the requested path matters. */
function failureAsIs(error: unknown): void {
  expect(error).toBeInstanceOf(OperatorError);
}
