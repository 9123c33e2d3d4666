import { expect, it } from 'vitest';
import { createCatalog } from '../../src/catalog.ts';
import { vendors } from '../../src/gateways/index.ts';
import { createStore } from '../../src/kube/store.ts';
import type { SecretFacts, ServiceRegistry } from '../../src/model/objects.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { ServiceRegistries } from '../../src/sources/registries.ts';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { eventually } from '../support/eventually.ts';
import { type ToyFault, ToyRegistry } from '../toys/toy-source/registry-server.ts';
import { toySource } from '../toys/toy-source/toy-source.ts';
import { type SourceHarness, testDiscoverySource } from './discovery-source.ts';

const TOKEN = 'toy-token-of-the-suite';
const STATES = { ready: 'up', notReady: 'down', leaving: 'leaving' } as const;

const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => log,
};

interface ToyHarness extends SourceHarness<ServiceQuery> {
  readonly registry: ToyRegistry;
  /** Undefined if the Secret does not exist. */
  token: string | undefined;
  readonly isFollowing: () => boolean;
}

async function createHarness(): Promise<ToyHarness> {
  const registry = await ToyRegistry.start(TOKEN);
  let isRunning = false;
  const followed = new Set<string>();
  const harness: ToyHarness = {
    registry,
    token: TOKEN,
    isFollowing: () => isRunning && followed.size > 0,
    source: toySource.create({
      name: 'toys',
      section: { url: registry.url, pollIntervalMs: 5, tokenSecretRef: { name: 'toy', key: 'token' } },
      secret: () =>
        harness.token === undefined
          ? { ok: false, message: 'Secret toy does not exist' }
          : { ok: true, value: harness.token },
      // The toy asks for its token before each request.
      onSecretsChange: () => ({ [Symbol.dispose]: () => undefined }),
      limits: {
        concurrentQueries: 16,
        requestsPerSecond: undefined,
        requestTimeoutMs: 200,
        pollIntervalMs: 5,
      },
      observer: { requested: () => undefined, failed: () => undefined, changed: () => undefined },
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
      return { service, options: undefined };
    },
    async register(service, instances) {
      registry.register(
        service,
        instances.map(({ address, state }) => ({ address, port: 8080, state: STATES[state] })),
      );
    },
    async remove(service) {
      registry.remove(service);
    },
    requestsFor: (service) => registry.requestsFor(service),
    secrets: [TOKEN, 'rotated-token'],
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
  return harness;
}

const faultOf =
  (fault: ToyFault) =>
  async ({ registry, isFollowing }: ToyHarness): Promise<AsyncDisposable> => {
    const met = registry.faultsMet;
    const repair = registry.fail(fault);
    if (isFollowing()) await eventually(() => assertMore(registry.faultsMet, met), { intervalMs: 2 });
    return { [Symbol.asyncDispose]: async () => repair[Symbol.dispose]() };
  };

function assertMore(count: number, before: number): void {
  if (count <= before) throw new Error('no request met the fault yet');
}

testDiscoverySource<ServiceQuery, ToyHarness>({
  name: 'The toy source',
  create: createHarness,
  faults: {
    'the registry closes every connection': faultOf('refuses'),
    'the registry answers 500': faultOf('fails'),
    'answers are truncated': faultOf('truncates'),
    'answers are empty, although the registry counts instances': faultOf('lies'),
    'the registry does not answer': faultOf('hangs'),
    async 'the registry takes another token'({ registry, isFollowing }) {
      const { refused } = registry;
      registry.token = 'rotated-token';
      if (isFollowing()) await eventually(() => assertMore(registry.refused, refused), { intervalMs: 2 });
      return {
        async [Symbol.asyncDispose]() {
          registry.token = TOKEN;
        },
      };
    },
    async 'the Secret is missing'(harness) {
      harness.token = undefined;
      return {
        async [Symbol.asyncDispose]() {
          harness.token = TOKEN;
        },
      };
    },
  },
});

it('the toy source applies changes of its ServiceRegistry and Secret without a restart', async () => {
  await using registry = await ToyRegistry.start(TOKEN);
  registry.register('web', [{ address: '10.0.0.1', port: 8080, state: 'up' }]);
  const catalog = createCatalog({ vendors, registryTypes: [toySource] });
  expect(catalog.customResources.map(({ plural }) => plural)).toContain('serviceregistries');
  const reportError = (error: unknown) => {
    throw error;
  };
  const registries = createStore<ServiceRegistry>({ indexes: {}, reportError });
  const secrets = createStore<SecretFacts>({ indexes: {}, reportError });
  const setToken = (token: string) =>
    secrets.upsert({ namespace: 'operator', name: 'toy', uid: 's', resourceVersion: token, data: { token } });
  setToken('stale');
  const operatorNamespace = 'operator';
  const clock = systemClock;
  const source = new ServiceRegistries({
    registries,
    secrets,
    operatorNamespace,
    types: catalog.registryTypes,
    instruments: {
      registryOpened: () => undefined,
      registryRequested: () => undefined,
      registryFailed: () => undefined,
      registryDeleted: () => undefined,
    },
    clock,
    random: Math.random,
    log,
  });
  const stop = new AbortController();
  const running = source.run(stop.signal);
  const ref = { source: 'Registry', registry: 'toys', service: 'web', options: {} } as const;
  using _subscription = source.subscribe(ref, () => undefined);
  expect(source.read(ref)).toMatchObject({ state: 'unknown' });

  const spec = {
    type: 'Toy',
    toy: { url: registry.url, pollIntervalMs: 5, tokenSecretRef: { name: 'toy' } },
  };
  const metadata = { name: 'toys', uid: 'r', resourceVersion: '1', generation: 1 };
  const object = catalog.registries?.transform({ metadata, spec });
  if (object === undefined) throw new Error('no ServiceRegistry');
  registries.upsert(object);
  await eventually(() => expect(source.read(ref)).toMatchObject({ message: /HTTP 401/ }));
  setToken(TOKEN);
  await eventually(() => expect(source.read(ref)).toMatchObject({ endpoints: [{ address: '10.0.0.1' }] }));
  expect(source.read({ ...ref, options: { toy: { only: '10.9.' } } })).toMatchObject({ endpoints: [] });
  expect(source.read({ ...ref, options: { consul: {} } })).toMatchObject({ state: 'unknown' });

  registries.remove(object);
  expect(source.read(ref)).toMatchObject({ state: 'unknown', beginning: false });
  stop.abort();
  await running;
});
