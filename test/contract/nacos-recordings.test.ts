import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { NacosProtocol } from '../../src/sources/nacos/protocol.ts';
import { type NacosBackend, nacosBackend, nacosRegistry } from '../../src/sources/nacos/schema.ts';
import { readRecording } from '../support/registries/recording.ts';

const APIS = ['v3', 'v1'] as const;
type Api = (typeof APIS)[number];

/** The recorded answers of one service, one after the other, read with the code that reads real ones. */
class Replay implements AsyncDisposable {
  readonly #answers = new Map<string, unknown>();
  readonly #server = createServer((request, response) => {
    const body = this.#answers.get(new URL(request.url ?? '/', 'http://replay').pathname);
    response.writeHead(body === undefined ? 404 : 200).end(JSON.stringify(body ?? {}));
  });
  #protocol: NacosProtocol | undefined;
  #cursor: Awaited<ReturnType<NacosProtocol['ask']>>['cursor'] | undefined;
  readonly #name: string;
  readonly #service: string;
  readonly #api: Api;

  constructor(name: string, service: string, api: Api) {
    this.#name = name;
    this.#service = service;
    this.#api = api;
  }

  /** What a backend with `options` gets of the answers that were recorded `after` a step. */
  async read(after: string, options: Partial<NacosBackend> = {}): Promise<readonly Endpoint[]> {
    await this.#load(after);
    const url = await this.#start();
    const query = { service: this.#service, options: nacosBackend.parse(options) };
    const request = { query, server: new URL(url), cursor: this.#cursor, waitMs: 0, timeoutMs: 5000 };
    this.#protocol ??= protocolOf(url);
    const { cursor } = await this.#protocol.ask(request, new AbortController().signal);
    this.#cursor = cursor;
    return this.#protocol.endpoints(cursor.instances, query.options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#protocol?.close();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #load(after: string): Promise<void> {
    const { answers } = await readRecording(this.#name);
    const own = answers.filter((answer) => answer.service === this.#service && answer.after === after);
    if (own.length === 0) throw new Error(`${this.#name} has no answer for ${this.#service} after ${after}`);
    this.#answers.clear();
    for (const { path = '', body } of own) if (path.includes(`/${this.#api}/`)) this.#answers.set(path, body);
  }

  async #start(): Promise<string> {
    if (!this.#server.listening) await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
}

function protocolOf(url: string): NacosProtocol {
  return new NacosProtocol({
    section: nacosRegistry.parse({ servers: [url] }),
    secret: ({ name }) => ({ ok: false, message: `no Secret ${name}` }),
    limits: {
      concurrentQueries: 1,
      requestsPerSecond: undefined,
      requestTimeoutMs: 5000,
      pollIntervalMs: 1000,
    },
    clock: systemClock,
  });
}

function shown({ address, port, ready, terminating, weight }: Endpoint): string {
  const state = terminating ? 'leaving' : ready ? 'ready' : 'not ready';
  return `${address} ${port ?? 'no port'}, ${state}, weight ${weight}`;
}

describe.each(APIS)('over the API %s', (api) => {
  let replay: Replay | undefined;
  const open = (name: string, service: string) => {
    replay = new Replay(name, service, api);
    return replay;
  };

  afterEach(async () => {
    await replay?.[Symbol.asyncDispose]();
    replay = undefined;
  });

  describe("instances that Nacos' Java client registered", () => {
    const of = async (service: string, options: Partial<NacosBackend> = {}) =>
      (await open('nacos-java-client', service).read('register', options)).map(shown);

    it('have their state, and their weight as a fraction', async () => {
      expect(await of('orders')).toEqual([
        '198.51.100.1 8080, ready, weight 1',
        '198.51.100.2 8080, ready, weight 0.3',
        '198.51.100.4 8080, not ready, weight 1',
        '198.51.100.5 8080, ready, weight 1',
        '198.51.100.6 8080, ready, weight 0',
      ]);
    });

    it('have metadata', async () => {
      const [first] = await open('nacos-java-client', 'orders').read('register');
      expect(first?.metadata).toEqual({ version: '2', zone: 'a', 'metrics.port': '9100' });
    });

    it('are filtered by cluster', async () => {
      expect(await of('orders', { clusters: ['HZ'] })).toEqual(['198.51.100.5 8080, ready, weight 1']);
    });

    it('are found in their group', async () => {
      expect(await of('grouped', { group: 'payments' })).toEqual(['198.51.100.30 8080, ready, weight 1']);
    });

    it('may share an address', async () => {
      expect(await of('two-ports')).toEqual([
        '198.51.100.20 8080, ready, weight 1',
        '198.51.100.20 8081, ready, weight 1',
      ]);
    });

    it('may have an IPv6 address, which Java writes in full, or a name', async () => {
      expect(await of('ipv6')).toEqual(['2001:db8::1 8080, ready, weight 1']);
      const named = await open('nacos-java-client', 'named').read('register');
      expect(named).toMatchObject([{ address: 'app-1.example.com' }]);
      expect(named[0]?.family).toBeUndefined();
    });

    it('may be without a port', async () => {
      expect(await of('portless')).toEqual(['198.51.100.40 no port, ready, weight 1']);
    });

    it('may be persistent', async () => {
      expect(await of('persistent')).toEqual([
        '198.51.100.60 8080, ready, weight 1',
        '198.51.100.61 8080, ready, weight 1',
      ]);
    });

    it('all count as healthy once the protection threshold is reached', async () => {
      expect(await of('protected')).toEqual([
        '198.51.100.50 8080, ready, weight 1',
        '198.51.100.51 8080, ready, weight 1',
        '198.51.100.52 8080, ready, weight 1',
      ]);
    });

    it('all count as healthy if none is, even with a threshold of 0', async () => {
      expect(await of('unprotected')).toEqual([
        '198.51.100.55 8080, ready, weight 1',
        '198.51.100.56 8080, ready, weight 1',
      ]);
    });

    it('are absent after deregistration, after their client ends, and without a registration', async () => {
      expect(await of('left')).toEqual([]);
      expect(await of('never')).toEqual([]);
      expect(await open('nacos-java-client', 'orders').read('exit')).toEqual([]);
    });
  });

  describe('an application with Spring Cloud Alibaba', () => {
    it('is ready, and leaves once it is disabled in the console', async () => {
      const application = open('nacos-spring-client', 'shop');
      const started = await application.read('it started');
      expect(started.map(shown)).toEqual(['198.51.100.80 8080, ready, weight 0.5']);
      expect(started[0]?.metadata).toEqual({ 'preserved.register.source': 'SPRING_CLOUD', version: '1' });
      const disabled = await application.read('it was disabled');
      expect(disabled.map(shown)).toEqual(['198.51.100.80 8080, leaving, weight 0.5']);
    });
  });
});
