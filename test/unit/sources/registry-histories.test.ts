import { isDeepStrictEqual } from 'node:util';
import { expect, it } from 'vitest';
import { builtInCatalog } from '../../../src/catalog.ts';
import { createStore } from '../../../src/kube/store.ts';
import type { Endpoint } from '../../../src/model/endpoint.ts';
import type { SecretFacts, ServiceRegistry } from '../../../src/model/objects.ts';
import type { RegistryServiceRef } from '../../../src/model/reference.ts';
import { ServiceRegistries } from '../../../src/sources/registries.ts';
import type { RegistryType } from '../../../src/sources/registry.ts';
import { overProtocol } from '../../../src/sources/registry-source/over-protocol.ts';
import {
  type InstancesAnswer,
  type InstancesRequest,
  RegistryError,
  type RegistryProtocol,
} from '../../../src/sources/registry-source/protocol.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { createRandom, pick, type Random } from '../../support/random.ts';
import { quietLogger } from '../../support/registries/quiet-logger.ts';

type Addresses = readonly string[];

const SERVICES = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
const ALL = '*';
const LISTS: readonly Addresses[] = [[], ['10.0.0.1'], ['10.0.0.2'], ['10.0.0.1', '10.0.0.2']];

/** A registry whose instances are addresses, on a clock that the test advances. */
class FakeRegistry implements RegistryProtocol<string, Addresses> {
  readonly type = 'Consul';
  readonly blocking: boolean;
  readonly probe = { service: 'probe', options: undefined };
  readonly listed = new Map<string, Addresses>();
  readonly failing = new Map<string, RegistryError['scope']>();
  readonly #clock;
  readonly #waiting = new Set<() => void>();

  constructor(clock: ReturnType<typeof createFakeClock>, blocking: boolean) {
    this.#clock = clock;
    this.blocking = blocking;
  }

  key({ service }: { readonly service: string }): string {
    return service;
  }

  async ask(
    { query: { service }, cursor, waitMs }: InstancesRequest<Addresses>,
    signal: AbortSignal,
  ): Promise<InstancesAnswer<string, Addresses>> {
    await this.#clock.sleep(2, signal);
    this.#assertAnswers(service);
    if (waitMs > 0 && isDeepStrictEqual(this.#instances(service), cursor)) await this.#change(waitMs, signal);
    this.#assertAnswers(service);
    const instances = this.#instances(service);
    return isDeepStrictEqual(instances, cursor)
      ? { instances: undefined, cursor: instances }
      : { instances, cursor: instances };
  }

  endpoints(instances: Addresses): readonly Endpoint[] {
    return instances.map((address) => ({ address, ready: true, serving: true, terminating: false }));
  }

  placeOptions() {
    return undefined;
  }

  close(): void {}

  /** Ends all waits. */
  notify(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #instances(service: string): Addresses {
    return this.listed.get(service) ?? [];
  }

  #assertAnswers(service: string): void {
    const scope = this.failing.get(service) ?? this.failing.get(ALL);
    if (scope !== undefined)
      throw new RegistryError('ServerError', scope, { problem: `failure of ${scope}` });
  }

  async #change(waitMs: number, signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const changed = new Promise<void>((resolve) => void this.#waiting.add(resolve));
    const waited = this.#clock.sleep(waitMs, AbortSignal.any([signal, ended.signal]));
    await Promise.race([changed, waited]).finally(() => ended.abort());
    await waited.catch(() => signal.throwIfAborted());
  }
}

interface User {
  readonly ref: RegistryServiceRef;
  readonly subscription: Disposable;
  /** What it read after the last call. */
  seen: string;
}

/** Users of a ServiceRegistry that read when they subscribe and when they are called, and never else. */
class History implements AsyncDisposable {
  readonly clock = createFakeClock();
  readonly registry: FakeRegistry;
  readonly source: ServiceRegistries;
  readonly users = new Set<User>();
  readonly #random: Random;
  readonly #registries = createStore<ServiceRegistry>({ indexes: {}, reportError });
  readonly #secrets = createStore<SecretFacts>({ indexes: {}, reportError });
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #spec: object = {};
  #version = 0;

  constructor(random: Random) {
    this.#random = random;
    this.registry = new FakeRegistry(this.clock, random() < 0.5);
    const type = {
      type: 'Consul',
      section: 'consul',
      secretRefs: () => [{ name: 'consul', key: 'token' }],
      ...overProtocol(() => this.registry),
    };
    this.source = new ServiceRegistries({
      registries: this.#registries,
      secrets: this.#secrets,
      operatorNamespace: 'operator',
      types: [type as unknown as RegistryType],
      instruments: {
        registryOpened: () => undefined,
        registryRequested: () => undefined,
        registryFailed: () => undefined,
        registryDeleted: () => undefined,
      },
      clock: this.clock,
      random,
      log: quietLogger,
    });
    this.#running = this.source.run(this.#stop.signal);
    this.put({});
  }

  readonly steps: readonly (() => void)[] = [
    () => this.subscribe(),
    () => this.subscribe(),
    () => this.unsubscribe(),
    () => this.unsubscribe(),
    () => this.registry.listed.set(pick(SERVICES, this.#random), pick(LISTS, this.#random)),
    () => this.registry.listed.set(pick(SERVICES, this.#random), pick(LISTS, this.#random)),
    () =>
      this.registry.failing.set(
        pick([...SERVICES, ALL], this.#random),
        pick(['server', 'registry', 'service'], this.#random),
      ),
    () => this.registry.failing.clear(),
    () => this.put({ limits: { servicesPerNamespace: pick([1, 2, 3], this.#random) } }),
    () => this.put({ limits: { servicesPerNamespace: 2, concurrentQueries: pick([1, 2], this.#random) } }),
    () => this.#remove(),
    () => this.put(this.#spec),
    () => this.#rotateSecret(),
  ];

  subscribe(): void {
    const service = pick(SERVICES, this.#random);
    const ref: RegistryServiceRef = { source: 'Registry', registry: 'vms', service, options: {} };
    const namespace = pick(['shop', 'pay', 'hr'], this.#random);
    const changed = () => {
      user.seen = this.read(user);
    };
    const user: User = {
      ref,
      seen: '',
      subscription: this.source.subscribe(ref, () => changed(), namespace),
    };
    changed();
    this.users.add(user);
  }

  unsubscribe(): void {
    const [user] = this.users;
    if (user === undefined) return;
    user.subscription[Symbol.dispose]();
    this.users.delete(user);
  }

  put(spec: object): void {
    this.#spec = spec;
    this.#version += 1;
    const object = builtInCatalog.registries?.transform({
      metadata: { name: 'vms', uid: 'uid', resourceVersion: `${this.#version}`, generation: this.#version },
      spec: {
        type: 'Consul',
        consul: { servers: ['http://a.example.com', 'http://b.example.com'] },
        ...spec,
      },
    });
    if (object !== undefined) this.#registries.upsert(object);
  }

  read({ ref }: User): string {
    return JSON.stringify(this.source.read(ref));
  }

  get followed(): number {
    return Object.values(this.source.facts('vms')?.services ?? {}).reduce((sum, count) => sum + count, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #remove(): void {
    const object = this.#registries.get('', 'vms');
    if (object !== undefined) this.#registries.remove(object);
  }

  #rotateSecret(): void {
    this.#version += 1;
    const resourceVersion = `${this.#version}`;
    this.#secrets.upsert({
      namespace: 'operator',
      name: 'consul',
      uid: 'uid',
      resourceVersion,
      data: { token: resourceVersion },
    });
  }
}

function reportError(error: unknown): void {
  throw error;
}

it.each(Array.from({ length: 25 }, (_, seed) => seed))(
  'calls the users of a service after each change of its answer, and follows it while it has users (seed %i)',
  async (seed) => {
    const random = createRandom(seed);
    await using history = new History(random);
    const { clock, registry, source, users } = history;
    for (let step = 0; step < 120; step += 1) {
      pick(history.steps, random)();
      registry.notify();
      await settle();
      if (random() < 0.7) await clock.advance(pick([2, 500, 3000, 20_000], random));
      for (const user of users) expect(user.seen, `step ${step}`).toBe(history.read(user));
    }

    registry.failing.clear();
    history.put({ limits: { servicesPerNamespace: 100 } });
    for (let round = 0; round < 12; round += 1) await clock.advance(10_000);
    for (const { ref } of users) {
      const found = source.read(ref);
      expect(found.state).not.toBe('unknown');
      const addresses = found.state === 'known' ? found.endpoints.map(({ address }) => address) : [];
      expect(addresses).toEqual(registry.listed.get(ref.service) ?? []);
    }
    expect(history.followed).toBe(new Set([...users].map(({ ref }) => ref.service)).size);
    while (users.size > 0) history.unsubscribe();
    expect(history.followed).toBe(0);
  },
);
