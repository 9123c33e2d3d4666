import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ConsulProtocol } from '../../src/sources/consul/protocol.ts';
import { consulRegistry } from '../../src/sources/consul/schema.ts';
import { EtcdProtocol } from '../../src/sources/etcd/protocol.ts';
import { etcdRegistry } from '../../src/sources/etcd/schema.ts';
import { EurekaProtocol } from '../../src/sources/eureka/protocol.ts';
import { eurekaRegistry } from '../../src/sources/eureka/schema.ts';
import { NacosProtocol } from '../../src/sources/nacos/protocol.ts';
import { nacosRegistry } from '../../src/sources/nacos/schema.ts';
import { RegistryError, type RegistryProtocol } from '../../src/sources/registry-source/protocol.ts';
import { fuzzCases } from '../support/fuzz-cases.ts';
import { mutate } from '../support/mutate.ts';
import { createRandom } from '../support/random.ts';
import { type Recording, readRecording } from '../support/registries/recording.ts';

const ROUNDS = fuzzCases(5000);
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);

const connection = {
  secret: ({ name }: { readonly name: string }) => ({ ok: false, message: `no Secret ${name}` }) as const,
  limits: {
    concurrentQueries: 1,
    requestsPerSecond: undefined,
    requestTimeoutMs: 5000,
    pollIntervalMs: 1000,
  },
  clock: systemClock,
};

interface Subject {
  readonly name: string;
  readonly recording: string;
  readonly service: string;
  readonly after: string;
  /** Of the answer that is mutated. */
  readonly path: RegExp;
  /** The answer to the request of the protocol, if the recorded one has more. */
  readonly narrow?: (body: unknown) => unknown;
  readonly create: (url: string) => RegistryProtocol<unknown, unknown>;
}

const same = (body: unknown) => body;

const SUBJECTS: readonly Subject[] = [
  {
    name: 'Consul',
    recording: 'consul-go-client',
    service: 'orders',
    after: 'register',
    path: /^\/v1\/health\/service\//,
    create: (url) => new ConsulProtocol({ ...connection, section: consulRegistry.parse({ servers: [url] }) }),
  },
  {
    name: 'Nacos',
    recording: 'nacos-java-client',
    service: 'orders',
    after: 'register',
    path: /^\/nacos\/v3\/client\//,
    create: (url) => new NacosProtocol({ ...connection, section: nacosRegistry.parse({ servers: [url] }) }),
  },
  {
    name: 'Eureka',
    recording: 'eureka-spring-client',
    service: 'shop',
    after: 'it started',
    path: /^\/apps\//,
    create: (url) => new EurekaProtocol({ ...connection, section: eurekaRegistry.parse({ servers: [url] }) }),
  },
  {
    name: 'etcd',
    recording: 'etcd-kitex-client',
    service: 'orders',
    after: 'register',
    path: /^\/v3\/kv\/range/,
    narrow(body) {
      const { kvs, ...rest } = body as { readonly kvs: readonly { readonly key: string }[] };
      const own = kvs.filter(({ key }) => atob(key).startsWith('kitex/registry-etcd/orders/'));
      return { ...rest, kvs: own, count: `${own.length}` };
    },
    create: (url) =>
      new EtcdProtocol({ ...connection, section: etcdRegistry.parse({ servers: [url], format: 'Kitex' }) }),
  },
];

/** `address port` of each. */
const placesOf = (endpoints: readonly Endpoint[]) =>
  endpoints.map(({ address, port }) => `${address} ${port}`);

/** Every text in the recorded answer that is long enough to be recognized. Messages name the server, 127.0.0.1. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.length > 8 && value !== '127.0.0.1' ? [value] : [];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

describe.each(SUBJECTS)(
  'mutated answers of $name',
  ({ recording, service, after, path, narrow = same, create }) => {
    let answer: Recording['answers'][number];
    let body: Buffer;
    let protocol: RegistryProtocol<unknown, unknown>;
    let url: URL;
    const server = createServer((request, response: ServerResponse) => {
      if (path.test(request.url ?? '')) response.writeHead(200, answer.headers).end(body);
      else response.writeHead(404).end();
    });

    beforeAll(async () => {
      const { answers } = await readRecording(recording);
      const found = answers.find((one) => {
        return (
          one.service === service && one.after === after && (one.path === undefined || path.test(one.path))
        );
      });
      if (found === undefined) throw new Error(`${recording} has no such answer`);
      answer = { ...found, body: narrow(found.body) };
      await once(server.listen(0, '127.0.0.1'), 'listening');
      url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      protocol = create(url.href);
    });

    afterAll(async () => {
      protocol.close();
      server.closeAllConnections();
      server.close();
    });

    const ask = async () => {
      const query = { service, options: undefined };
      const request = { query, server: url, cursor: undefined, waitMs: 0, timeoutMs: 5000 };
      const { instances = [] } = await protocol.ask(request, new AbortController().signal);
      return protocol.endpoints(instances, undefined);
    };

    it(`${ROUNDS} of them give every instance, or an error that shows no value`, async () => {
      body = Buffer.from(JSON.stringify(answer.body));
      const right = await ask();
      expect(right.length).toBeGreaterThan(0);
      const texts = textsIn(answer.body);
      const allowed = new Set([
        ...placesOf(right),
        ...right.map(({ address }) => `${address} undefined`),
        // Excluded, and reported as such.
        '? undefined',
      ]);
      let rejected = 0;
      for (let seed = SEED; seed < SEED + ROUNDS; seed += 1) {
        const mutated = mutate(answer.body, createRandom(seed));
        body = mutated.bytes;
        const label = `FUZZ_SEED=${seed}: ${mutated.mutation} at ${mutated.where}`;
        try {
          const endpoints = await ask();
          expect(endpoints.length, label).toBe(right.length);
          expect(
            placesOf(endpoints).filter((place) => !allowed.has(place)),
            label,
          ).toEqual([]);
        } catch (error) {
          if (!(error instanceof RegistryError)) throw error;
          expect(
            texts.filter((text) => error.message.includes(text)),
            label,
          ).toEqual([]);
          rejected += 1;
        }
      }
      expect(Math.min(rejected, ROUNDS - rejected)).toBeGreaterThan(ROUNDS / 10);
    }, 300_000);
  },
);
