import { getEventListeners } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import {
  createTransport,
  type KubeTransport,
  resourcePath,
  type WatchEvent,
} from '../../../src/kube/transport.ts';
import { createCertificateAuthority } from '../../support/control-plane/certificates.ts';
import { eventually } from '../../support/eventually.ts';
import {
  type Answer,
  json,
  kubeConfigOf,
  refused,
  startScriptedApiServer,
  watched,
} from './scripted-api-server.ts';

const TOKEN = 'test-token-0123456789';
const never = new AbortController().signal;

async function serve(...script: readonly Answer[]) {
  const api = await startScriptedApiServer(script);
  const transport = createTransport({ kubeConfig: kubeConfigOf({ server: api.url }), userAgent: 'tests' });
  onTestFinished(async () => {
    transport.close();
    await api[Symbol.asyncDispose]();
  });
  return { api, transport };
}

async function failure(promise: Promise<unknown>): Promise<KubeApiError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(KubeApiError);
  return error as KubeApiError;
}

function watch(transport: KubeTransport, signal = never, idleTimeoutMs = 60_000): AsyncIterable<WatchEvent> {
  return transport.watch('/api/v1/things', { query: {}, signal, idleTimeoutMs });
}

async function collect(events: AsyncIterable<WatchEvent>): Promise<WatchEvent[]> {
  const all: WatchEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe('requests', () => {
  it('send query, user agent and token, and return parsed JSON', async () => {
    const { api, transport } = await serve(json({ items: ['ü'] }));
    const query = { fieldSelector: 'type!=helm.sh/release.v1', limit: '5' };
    expect(await transport.get('/api/v1/things', { query, signal: never })).toEqual({ items: ['ü'] });
    expect(api.seen[0]).toMatchObject({ method: 'GET', path: '/api/v1/things', query });
    expect(api.seen[0]?.headers).toMatchObject({
      'user-agent': 'tests',
      authorization: `Bearer ${TOKEN}`,
      accept: 'application/json',
    });
  });

  it('send a body with its content type and length in bytes', async () => {
    let body = '';
    const { api, transport } = await serve((response, request) => {
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', () => response.writeHead(200).end('{}'));
    });
    await transport.send({
      method: 'PATCH',
      path: '/api/v1/things/a',
      body: { text: 'größer' },
      contentType: 'application/merge-patch+json',
      signal: never,
    });
    expect(JSON.parse(body)).toEqual({ text: 'größer' });
    expect(api.seen[0]?.headers['content-type']).toBe('application/merge-patch+json');
  });

  it('do not parse the response to a write with ignoreAnswer', async () => {
    const { transport } = await serve((response) => void response.writeHead(200).end('{"metadata":'));
    const written = transport.send({
      method: 'PATCH',
      path: '/api/v1/things/a',
      signal: never,
      ignoreAnswer: true,
    });
    expect(await written).toBeUndefined();
  });

  it('reuse one connection for consecutive requests', async () => {
    const { api, transport } = await serve(...Array.from({ length: 50 }, () => json({})));
    for (let request = 0; request < 50; request += 1) await transport.get('/api', { signal: never });
    expect(api.seen.length).toBe(50);
    expect(api.accepted()).toBe(1);
  });

  it.each([
    [400, 'BadRequest'],
    [401, 'Unauthorized'],
    [403, 'Forbidden'],
    [404, 'NotFound'],
    [409, 'Conflict'],
    [410, 'Expired'],
    [429, 'TooManyRequests'],
    [500, 'InternalError'],
  ])('fail with status %i and its reason %s', async (status, reason) => {
    const { transport } = await serve(refused(status, reason));
    const error = await failure(transport.get('/api', { signal: never }));
    expect(error).toMatchObject({ status, kubeReason: reason, retryAfterMs: undefined });
    expect(error.message).toContain(`${reason} it is`);
  });

  it('parse both forms of Retry-After and limit its value', async () => {
    const { transport } = await serve(
      refused(429, 'TooManyRequests', { 'retry-after': '7' }),
      refused(503, 'ServiceUnavailable', { 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() }),
      refused(503, 'ServiceUnavailable', { 'retry-after': 'soon' }),
      refused(503, 'ServiceUnavailable', { 'retry-after': '-5' }),
    );
    const pause = async () => (await failure(transport.get('/api', { signal: never }))).retryAfterMs;
    expect([await pause(), await pause(), await pause(), await pause()]).toEqual([
      7000,
      300_000,
      undefined,
      undefined,
    ]);
  });

  it('fail with a short message if the response is long or not a Status', async () => {
    const { transport } = await serve(refused(403, 'Forbidden', {}, 'x'.repeat(5000)), (response) => {
      response.writeHead(502, { 'content-type': 'text/html' }).end(`<html>${'y'.repeat(5000)}</html>`);
    });
    for (const status of [403, 502]) {
      const error = await failure(transport.get('/api', { signal: never }));
      expect(error.status).toBe(status);
      expect(error.message.length).toBeLessThan(600);
    }
  });

  it.each<[string, Answer]>([
    ['is not JSON', (response) => response.writeHead(200).end('<html>')],
    [
      'is cut off',
      (response) =>
        response.writeHead(200, { 'content-length': '100' }).write('{"items":[', () => response.destroy()),
    ],
    [
      'is cut off between chunks',
      (response) => response.writeHead(200).write('{"items":[]}', () => response.destroy()),
    ],
    ['never starts', (response) => response.destroy()],
  ])('fail without a status if the response %s', async (_what, answer) => {
    const { transport } = await serve(answer);
    const error = await failure(transport.get('/api', { signal: never }));
    expect(error.status).toBeUndefined();
    expect(error.message).not.toContain(TOKEN);
  });

  it('fail if no server listens on the port', async () => {
    const { api, transport } = await serve();
    await api[Symbol.asyncDispose]();
    const error = await failure(transport.get('/api', { signal: never }));
    expect(error).toMatchObject({ status: undefined });
    expect(error.message).toContain('ECONNREFUSED');
  });

  it.each<[string, Answer[]]>([
    ['start', []],
    ['end', [(response) => response.writeHead(200).write('{')]],
  ])(
    'fail after their timeout if the response does not %s, and close the connection',
    async (_what, script) => {
      const { api, transport } = await serve(...script);
      const error = await failure(transport.get('/api', { signal: never, timeoutMs: 200 }));
      expect(error.message).toContain('200 ms');
      await api.seen[0]?.closed;
    },
  );

  it("reject with the signal's reason after an abort, and close the connection", async () => {
    const { api, transport } = await serve();
    const stop = new AbortController();
    const pending = transport.get('/api', { signal: stop.signal });
    await eventually(() => expect(api.seen.length).toBe(1));
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(pending).rejects.toBe(reason);
    await api.seen[0]?.closed;
    await expect(transport.get('/api', { signal: stop.signal })).rejects.toBe(reason);
    expect(api.seen.length).toBe(1);
  });

  it.each<[string, Parameters<typeof kubeConfigOf>]>([
    [
      'a server without TLS that the kubeconfig does not allow',
      [{ server: 'http://127.0.0.1:9', skipTLSVerify: false }],
    ],
    ['an invalid server URL', [{ server: 'nowhere' }]],
    [
      'a token with characters that are invalid in a header',
      [{ server: 'http://127.0.0.1:9' }, { token: 'secret-token\n' }],
    ],
    ['a missing CA file', [{ server: 'https://127.0.0.1:9', caFile: '/does/not/exist' }]],
    ['a proxy, which is not supported', [{ server: 'http://127.0.0.1:9', proxyUrl: 'http://127.0.0.1:9' }]],
  ])('fail with KubeApiError for %s', async (_what, config) => {
    const transport = createTransport({ kubeConfig: kubeConfigOf(...config), userAgent: 'tests' });
    const error = await failure(transport.get('/api', { signal: never }));
    expect(error.status).toBeUndefined();
    expect(error.message).not.toContain('secret-token');
    expect(error.message).not.toContain('ECONNREFUSED');
  });

  const plugin = (script: string) => ({
    exec: { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: ['-e', script] },
  });

  it('apply their timeout to a credential plugin', async () => {
    const server = 'http://127.0.0.1:9';
    const kubeConfig = kubeConfigOf({ server }, plugin('setTimeout(() => {}, 10_000)'));
    const transport = createTransport({ kubeConfig, userAgent: 'tests' });
    const error = await failure(transport.get('/api', { signal: never, timeoutMs: 200 }));
    expect(error).toMatchObject({ status: undefined, silent: true });
    expect((await failure(collect(watch(transport, never, 200)))).silent).toBe(true);
    const stop = new AbortController();
    const pending = transport.get('/api', { signal: stop.signal });
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(pending).rejects.toBe(reason);
  });

  it('do not include the output of a credential plugin in the error', async () => {
    const kubeConfig = kubeConfigOf(
      { server: 'http://127.0.0.1:9' },
      plugin('process.stdout.write("secret-token")'),
    );
    const transport = createTransport({ kubeConfig, userAgent: 'tests' });
    const error = await failure(transport.get('/api', { signal: never }));
    expect(error.message).toContain('credentials');
    expect(error.message).not.toContain('secret');
  });

  it('stop reading an endless error response and keep its status', async () => {
    const { api, transport } = await serve((response) => {
      response.writeHead(503);
      const block = Buffer.alloc(64 * 1024, 'x');
      const send = (): void => {
        if (!response.destroyed) response.write(block, send);
      };
      send();
    });
    expect((await failure(transport.get('/api', { signal: never }))).status).toBe(503);
    await api.seen[0]?.closed;
  });

  it('survive invalid HTTP in the same packet as the response headers', async () => {
    const { transport } = await serve((response) => {
      response.socket?.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n');
    });
    expect((await failure(transport.get('/api', { signal: never }))).status).toBeUndefined();
  });

  it('leave no listeners on a signal that outlives them', async () => {
    const script = Array.from({ length: 100 }, (_, at) => (at % 2 === 0 ? json({}) : watched([], 'close')));
    const { transport } = await serve(...script);
    const { signal } = new AbortController();
    for (let round = 0; round < 50; round += 1) {
      await transport.get('/api', { signal });
      await collect(watch(transport, signal));
    }
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('read the token file again after a 401', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'transport-'));
    onTestFinished(() => rm(dir, { recursive: true }));
    const tokenFile = join(dir, 'token');
    await writeFile(tokenFile, 'first');
    const api = await startScriptedApiServer([json({}), refused(401, 'Unauthorized'), json({})]);
    onTestFinished(() => api[Symbol.asyncDispose]());
    const user = { authProvider: { name: 'tokenFile', config: { tokenFile } } };
    const transport = createTransport({
      kubeConfig: kubeConfigOf({ server: api.url }, user),
      userAgent: 'tests',
    });
    onTestFinished(() => transport.close());
    await transport.get('/api', { signal: never });
    await writeFile(tokenFile, 'second');
    await failure(transport.get('/api', { signal: never }));
    await transport.get('/api', { signal: never });
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer first',
      'Bearer first',
      'Bearer second',
    ]);
  });
});

describe('watch', () => {
  const event = (name: string) => ({ type: 'ADDED', object: { metadata: { name } } });
  const line = (name: string) => `${JSON.stringify(event(name))}\n`;

  it('yields every event, even if chunks split a character', async () => {
    const bytes = Buffer.from(`${line('ä€😀')}\n${line('b')}`);
    const { transport } = await serve((response) => {
      response.writeHead(200);
      const send = (at: number): void => {
        if (at >= bytes.length) response.end();
        else response.write(bytes.subarray(at, at + 1), () => setImmediate(send, at + 1));
      };
      send(0);
    });
    expect(await collect(watch(transport))).toEqual([event('ä€😀'), event('b')]);
  });

  it('sends a watch request, and ends when the API server closes it', async () => {
    const { api, transport } = await serve(watched([event('a')], 'close'));
    const query = { resourceVersion: '7', allowWatchBookmarks: 'true' };
    const events = await collect(
      transport.watch('/api/v1/things', { query, signal: never, idleTimeoutMs: 60_000 }),
    );
    expect(events).toEqual([event('a')]);
    expect(api.seen[0]).toMatchObject({ path: '/api/v1/things', query: { ...query, watch: 'true' } });
  });

  it('fails at an incomplete line, after it has yielded the events before it', async () => {
    const { transport } = await serve((response) =>
      response.writeHead(200).end(line('a') + line('b').slice(0, -3)),
    );
    const seen: WatchEvent[] = [];
    const reading = (async () => {
      for await (const each of watch(transport)) seen.push(each);
    })();
    expect((await failure(reading)).message).toContain('in the middle of an event');
    expect(seen).toEqual([event('a')]);
  });

  it.each<[string, number | undefined, Answer]>([
    ['is rejected', 410, refused(410, 'Expired')],
    ['breaks', undefined, watched([event('a')], 'cut')],
    ['sends invalid JSON', undefined, (response) => response.writeHead(200).end('what?\n')],
    ['sends an invalid event', undefined, (response) => response.writeHead(200).end('null\n')],
    ['gets another success status', 204, (response) => response.writeHead(204).end()],
  ])('fails if it %s', async (_what, status, answer) => {
    const { transport } = await serve(answer);
    expect((await failure(collect(watch(transport)))).status).toBe(status);
  });

  it('fails if a line is longer than 32 MiB', async () => {
    const { transport } = await serve((response) => {
      response.writeHead(200);
      const block = Buffer.alloc(1024 * 1024, 'x');
      const send = (): void => {
        if (!response.destroyed) response.write(block, send);
      };
      send();
    });
    expect((await failure(collect(watch(transport)))).message).toContain('larger than 32 MiB');
  });

  it.each<[string, Answer[]]>([
    ['response', []],
    ['more data', [watched([event('a')], 'open')]],
  ])('fails after the idle timeout without any %s, and closes the connection', async (_what, script) => {
    const { api, transport } = await serve(...script);
    expect((await failure(collect(watch(transport, never, 300)))).message).toContain('300 ms');
    await api.seen[0]?.closed;
  });

  it('closes its connection if the loop is left early', async () => {
    const { api, transport } = await serve(watched([event('a'), event('b')], 'open'));
    for await (const { type } of watch(transport)) {
      expect(type).toBe('ADDED');
      break;
    }
    await api.seen[0]?.closed;
    await eventually(() => expect(api.openConnections()).toBe(0));
  });

  it('yields no events after an abort, even if they have arrived', async () => {
    const { api, transport } = await serve(watched([event('a'), event('b'), event('c')], 'open'));
    const stop = new AbortController();
    const names: unknown[] = [];
    const run = (async () => {
      for await (const { object } of watch(transport, stop.signal)) {
        names.push(object);
        stop.abort(new Error('enough'));
      }
    })();
    await expect(run).rejects.toThrow('enough');
    expect(names.length).toBe(1);
    await api.seen[0]?.closed;
  });
});

describe('TLS', () => {
  const authority = createCertificateAuthority();

  async function startTls() {
    const { certPem, keyPem } = authority.issue({ commonName: 'api', hosts: ['127.0.0.1'], usage: 'server' });
    const clients: string[] = [];
    const options = {
      cert: certPem,
      key: keyPem,
      ca: authority.certPem,
      requestCert: true,
      rejectUnauthorized: false,
    };
    const server = createTlsServer(options, (request, response) => {
      clients.push(String((request.socket as TLSSocket).getPeerCertificate().subject?.CN));
      if (request.url?.includes('watch=true'))
        response.writeHead(200).write(`${JSON.stringify({ type: 'BOOKMARK', object: {} })}\n`);
      else response.writeHead(200).end('{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return { server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, clients };
  }

  const base64 = (pem: string) => Buffer.from(pem).toString('base64');

  it('verifies the server with the CA of the kubeconfig', async () => {
    const { server, clients } = await startTls();
    const withCa = (caPem: string) =>
      createTransport({ kubeConfig: kubeConfigOf({ server, caData: base64(caPem) }), userAgent: 'tests' });
    const good = withCa(authority.certPem);
    onTestFinished(() => good.close());
    expect(await good.get('/api', { signal: never })).toEqual({});
    const error = await failure(withCa(createCertificateAuthority().certPem).get('/api', { signal: never }));
    expect(error.status).toBeUndefined();
    expect(clients.length).toBe(1);
  });

  it('uses a rotated CA file', async () => {
    const { server, clients } = await startTls();
    const dir = await mkdtemp(join(tmpdir(), 'transport-'));
    onTestFinished(() => rm(dir, { recursive: true }));
    const caFile = join(dir, 'ca.crt');
    await writeFile(caFile, createCertificateAuthority().certPem);
    const transport = createTransport({ kubeConfig: kubeConfigOf({ server, caFile }), userAgent: 'tests' });
    onTestFinished(() => transport.close());
    await failure(transport.get('/api', { signal: never }));
    await writeFile(caFile, authority.certPem);
    expect(await transport.get('/api', { signal: never })).toEqual({});
    expect(clients.length).toBe(1);
  });

  it('uses a rotated client certificate, and keeps a watch that started with the old one', async () => {
    const { server, clients } = await startTls();
    const dir = await mkdtemp(join(tmpdir(), 'transport-'));
    onTestFinished(() => rm(dir, { recursive: true }));
    const files = { certFile: join(dir, 'client.crt'), keyFile: join(dir, 'client.key') };
    const rotate = async (commonName: string) => {
      const { certPem, keyPem } = authority.issue({ commonName, hosts: [], usage: 'client' });
      await writeFile(files.certFile, certPem);
      await writeFile(files.keyFile, keyPem);
    };
    await rotate('old');
    const kubeConfig = kubeConfigOf({ server, caData: base64(authority.certPem) }, files);
    const transport = createTransport({ kubeConfig, userAgent: 'tests' });
    onTestFinished(() => transport.close());
    const stop = new AbortController();
    const received: string[] = [];
    const watching = (async () => {
      for await (const { type } of watch(transport, stop.signal)) received.push(type);
    })();
    let ended = false;
    watching
      .catch(() => undefined)
      .finally(() => {
        ended = true;
      });
    await eventually(() => expect(received).toEqual(['BOOKMARK']));
    await transport.get('/api', { signal: never });
    await rotate('new');
    await transport.get('/api', { signal: never });
    await transport.get('/api', { signal: never });
    expect(clients).toEqual(['old', 'old', 'new', 'new']);
    expect(ended).toBe(false);
    stop.abort(new Error('enough'));
    await expect(watching).rejects.toThrow('enough');
  });
});

describe('resourcePath', () => {
  it.each([
    [{ group: '', version: 'v1', plural: 'services' }, '/api/v1/services'],
    [
      { group: '', version: 'v1', plural: 'secrets', namespace: 'a', name: 'b' },
      '/api/v1/namespaces/a/secrets/b',
    ],
    [
      {
        group: 'gatewayupstream.dev',
        version: 'v1alpha1',
        plural: 'x',
        namespace: 'a',
        name: 'b.c',
        subresource: 'status',
      },
      '/apis/gatewayupstream.dev/v1alpha1/namespaces/a/x/b.c/status',
    ],
    [
      { group: 'g.io', version: 'v1', plural: 'roles', name: 'system:node' },
      '/apis/g.io/v1/roles/system:node',
    ],
  ])('maps %j to %s', (address, path) => {
    expect(resourcePath(address)).toBe(path);
  });

  it.each(['', '.', '..', 'a/b', 'a%2fb', 'a?b', 'a#b', 'a b', 'a\\b', 'a\n', '-a', 'ä'])(
    'rejects %j in every position',
    (bad) => {
      const good = {
        group: 'g.io',
        version: 'v1',
        plural: 'things',
        namespace: 'ns',
        name: 'name',
        subresource: 'status',
      };
      for (const place of ['version', 'plural', 'namespace', 'name', 'subresource'] as const) {
        expect(() => resourcePath({ ...good, [place]: bad })).toThrow('resource path');
      }
      if (bad !== '') expect(() => resourcePath({ ...good, group: bad })).toThrow('resource path');
    },
  );

  it('keeps every name and namespace in its position, or rejects it', () => {
    const part = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom('a', '.', '/', '%', '2', 'e', '?', '#', ':', '\\') }),
    );
    fc.assert(
      fc.property(part, part, (namespace, name) => {
        let path: string;
        try {
          path = resourcePath({ group: 'g.io', version: 'v1', plural: 'things', namespace, name });
        } catch {
          return;
        }
        expect(new URL(path, 'http://api/').pathname.split('/')).toEqual([
          '',
          'apis',
          'g.io',
          'v1',
          'namespaces',
          namespace,
          'things',
          name,
        ]);
      }),
    );
  });
});
