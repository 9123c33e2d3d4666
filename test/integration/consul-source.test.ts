import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { consul } from '../../src/sources/consul/registry-type.ts';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { type SourceHarness, testDiscoverySource } from '../contract/discovery-source.ts';
import { eventually } from '../support/eventually.ts';
import { ConsulServer, MANAGEMENT_TOKEN } from '../support/registries/consul-server.ts';
import { FaultProxy, type RegistryFault } from '../support/registries/fault-proxy.ts';

const STATES = { ready: 'passing', notReady: 'critical', leaving: 'maintenance' } as const;

const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => log,
};

interface ConsulHarness extends SourceHarness<ServiceQuery> {
  readonly proxy: FaultProxy;
  /** Undefined: the Secret does not exist. */
  token: string | undefined;
  /** Tells the source that `token` has changed. */
  tokenChanged(): void;
  readonly isFollowing: () => boolean;
}

let server: ConsulServer;
/** A token that Consul knows and that may read nothing. */
let powerless: string;

beforeAll(async () => {
  server = await ConsulServer.start({ acl: true });
  const created = await server.request('PUT', '/v1/acl/token', { Description: 'without rights' });
  powerless = (created as { readonly SecretID: string }).SecretID;
}, 900_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function createHarness(): Promise<ConsulHarness> {
  const proxy = await FaultProxy.start(server.url);
  // All tests share one server.
  const prefix = `t${randomBytes(4).toString('hex')}-`;
  const registered = new Set<string>();
  const listeners = new Set<() => void>();
  let isRunning = false;
  const followed = new Set<string>();
  const register = (service: string, instances: Parameters<ConsulHarness['register']>[1]) => {
    registered.add(service);
    return server.register(
      prefix + service,
      instances.map(({ address, state }) => ({
        id: `${prefix}${service}-${address}`,
        address,
        port: 8080,
        status: STATES[state],
      })),
    );
  };
  const harness: ConsulHarness = {
    proxy,
    token: MANAGEMENT_TOKEN,
    tokenChanged() {
      for (const changed of listeners) changed();
    },
    isFollowing: () => isRunning && followed.size > 0,
    source: consul.create({
      name: 'consul',
      section: { servers: [proxy.url], tokenSecretRef: { name: 'consul', key: 'token' } },
      secret: () =>
        harness.token === undefined
          ? { ok: false, message: 'Secret consul does not exist' }
          : { ok: true, value: harness.token },
      onSecretsChange(changed) {
        listeners.add(changed);
        return { [Symbol.dispose]: () => void listeners.delete(changed) };
      },
      limits: {
        concurrentQueries: 100,
        requestsPerSecond: undefined,
        requestTimeoutMs: 1000,
        pollIntervalMs: 1000,
      },
      clock: systemClock,
      random: Math.random,
      log,
    }),
    async run(signal) {
      isRunning = true;
      await harness.source.run(signal);
    },
    ref(service) {
      followed.add(service);
      return { service: prefix + service, options: undefined };
    },
    register,
    remove: (service) => register(service, []),
    secrets: [MANAGEMENT_TOKEN, 'another-token'],
    async [Symbol.asyncDispose]() {
      for (const service of registered) await register(service, []);
      await proxy[Symbol.asyncDispose]();
    },
  };
  return harness;
}

const faultOf =
  (fault: RegistryFault) =>
  async ({ proxy, isFollowing }: ConsulHarness): Promise<AsyncDisposable> => {
    const met = proxy.faultsMet;
    const repair = proxy.fail(fault);
    if (isFollowing()) {
      await eventually(() => {
        if (proxy.faultsMet <= met) throw new Error('no request met the fault yet');
      });
    }
    return { [Symbol.asyncDispose]: async () => repair[Symbol.dispose]() };
  };

const withToken =
  (token: string | undefined) =>
  async (harness: ConsulHarness): Promise<AsyncDisposable> => {
    harness.token = token;
    harness.tokenChanged();
    return {
      async [Symbol.asyncDispose]() {
        harness.token = MANAGEMENT_TOKEN;
        harness.tokenChanged();
      },
    };
  };

describe('Consul', () => {
  testDiscoverySource<ServiceQuery, ConsulHarness>({
    name: 'Consul',
    create: createHarness,
    histories: 10,
    faults: {
      'the registry closes every connection': faultOf('closes every connection'),
      'the registry answers 500': faultOf('answers 500'),
      'the registry answers with a web page': faultOf('answers with a web page'),
      'answers are truncated': faultOf('truncates its answers'),
      'answers are not UTF-8': faultOf('sends bytes that are not UTF-8'),
      'answers have another shape': faultOf('sends JSON of another shape'),
      'the registry does not answer': faultOf('does not answer'),
      'answers end after their headers': faultOf('accepts and sends nothing but headers'),
      'the token is unknown': withToken('another-token'),
      'the token has no rights': (harness) => withToken(powerless)(harness),
      'the Secret is missing': withToken(undefined),
    },
  });
});
