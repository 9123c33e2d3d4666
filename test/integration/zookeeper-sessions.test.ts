import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Discovered } from '../../src/model/discovered.ts';
import { zooKeeper } from '../../src/sources/zookeeper/registry-type.ts';
import { eventually } from '../support/eventually.ts';
import { createRegistryHarness, type RegistryHarness } from '../support/registries/source-harness.ts';
import { ZooKeeperFaultProxy } from '../support/registries/zookeeper-fault-proxy.ts';
import {
  curatorData,
  ZOOKEEPER_READER,
  ZOOKEEPER_STRANGER,
  ZooKeeperServer,
} from '../support/registries/zookeeper-server.ts';

const PATH = '/sessions/services';
const CHANGES = 100;
/** The server expires a session after 4 s, and the source gives one up after 1 s without an answer. */
const FROZEN_MS = 5000;

let server: ZooKeeperServer;
let proxy: ZooKeeperFaultProxy;
let harness: RegistryHarness;
let stop: AbortController;
let running: Promise<void>;

beforeAll(async () => {
  server = await ZooKeeperServer.start();
}, 900_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

beforeEach(async () => {
  proxy = await ZooKeeperFaultProxy.start(server.url);
  harness = await createRegistryHarness({
    type: zooKeeper,
    server: { url: server.url, register },
    section: (proxyUrl) => ({
      servers: [proxyUrl],
      usernameSecretRef: { name: 'zookeeper', key: 'username' },
      passwordSecretRef: { name: 'zookeeper', key: 'password' },
      format: 'Curator' as const,
      path: PATH,
    }),
    secret: { ...ZOOKEEPER_READER },
    secrets: [],
    pollIntervalMs: 1000,
    startProxy: async () => proxy,
  });
  stop = new AbortController();
  running = harness.source.run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  await running;
  await harness[Symbol.asyncDispose]();
});

/** One node per instance, with the name of its address. */
async function register(service: string, instances: readonly { readonly address: string }[]): Promise<void> {
  const entries = instances.map(({ address }) => [address, curatorData(service, { address })] as const);
  await server.writer.replace(`${PATH}/${service}`, new Map(entries));
}

const ready = (...addresses: readonly string[]) =>
  addresses.map((address) => ({ address, state: 'ready' as const }));
const addressOf = (n: number) => `10.3.${n >> 8}.${n & 255}`;

function addressesOf(found: Discovered): readonly string[] | string {
  return found.state === 'known' ? found.endpoints.map(({ address }) => address).sort() : found.state;
}

const read = (service: string) => harness.source.read(harness.ref(service));
const shows = (service: string, addresses: readonly string[]) =>
  eventually(() => expect(addressesOf(read(service))).toEqual(addresses), { intervalMs: 2 });
const follow = (service: string): readonly Discovered[] => {
  const seen: Discovered[] = [];
  harness.source.subscribe(harness.ref(service), () => seen.push(read(service)));
  return seen;
};

describe('a session that ends', () => {
  it(`expires during ${CHANGES} changes of one service: none is lost`, async () => {
    follow('web');
    const registered: string[] = [];
    for (let n = 0; n < CHANGES; n += 1) {
      const expiring = n % 10 === 5 ? proxy.expireSession() : undefined;
      registered.push(addressOf(n));
      await harness.register('web', ready(...registered));
      await expiring;
    }
    await shows('web', registered.toSorted());
  });

  it(`expires during ${CHANGES} changes of ${CHANGES} services: each service shows its change`, async () => {
    const services = Array.from({ length: CHANGES }, (_, n) => `web-${n}`);
    for (const service of services) {
      await harness.register(service, ready('10.2.0.1'));
      follow(service);
    }
    for (const service of services) await shows(service, ['10.2.0.1']);
    for (const [n, service] of services.entries()) {
      await harness.register(service, ready(addressOf(n)));
      if (n % 25 === 12) await proxy.expireSession();
    }
    for (const [n, service] of services.entries()) await shows(service, [addressOf(n)]);
  });

  it('expires while nothing changes: the service is never unknown, and the next change is shown', async () => {
    await harness.register('web', ready('10.2.0.1'));
    const seen = follow('web');
    await shows('web', ['10.2.0.1']);
    await proxy.expireSession();
    await sleep(500);
    await harness.register('web', ready('10.2.0.2'));
    await shows('web', ['10.2.0.2']);
    expect(seen.map(addressesOf)).toEqual([['10.2.0.1'], ['10.2.0.2']]);
  });

  it('expires on a frozen connection: changes of that time are shown afterwards', async () => {
    await harness.register('web', ready('10.2.0.1'));
    follow('web');
    await shows('web', ['10.2.0.1']);
    const frozen = proxy.freeze();
    await harness.register('web', ready('10.2.0.2'));
    await eventually(() => expect(read('web').state).toBe('unknown'));
    await sleep(FROZEN_MS);
    frozen[Symbol.dispose]();
    await shows('web', ['10.2.0.2']);
  });

  it('is replaced when the Secret changes, and no service is unknown', async () => {
    await harness.register('web', ready('10.2.0.1'));
    const seen = follow('web');
    await shows('web', ['10.2.0.1']);
    harness.change({ ...ZOOKEEPER_STRANGER });
    await eventually(() => expect(read('web')).toMatchObject({ state: 'unknown', message: /credentials/ }));
    harness.change({ ...ZOOKEEPER_READER });
    await shows('web', ['10.2.0.1']);
    const states = seen.map(({ state }) => state);
    harness.change({ ...ZOOKEEPER_READER });
    await harness.register('web', ready('10.2.0.2'));
    await shows('web', ['10.2.0.2']);
    expect(seen.map(({ state }) => state)).toEqual([...states, 'known']);
  });
});

describe('the entries of a service', () => {
  it('are followed when their data changes in place', async () => {
    await harness.register('web', ready('10.2.0.1'));
    const service = harness.ref('web').service;
    follow('web');
    await shows('web', ['10.2.0.1']);
    for (let n = 0; n < 10; n += 1) {
      await server.writer.set(`${PATH}/${service}/10.2.0.1`, curatorData(service, { address: addressOf(n) }));
      await shows('web', [addressOf(n)]);
    }
  });

  it('that are too large make only this service unknown, without ending the session', async () => {
    await harness.register('web', ready('10.2.0.1'));
    await harness.register('other', ready('10.2.0.9'));
    const { service } = harness.ref('web');
    for (const name of ['web', 'other']) follow(name);
    await shows('web', ['10.2.0.1']);
    await shows('other', ['10.2.0.9']);
    await server.writer.set(`${PATH}/${service}/10.2.0.1`, ' '.repeat(100_000));
    await eventually(() => expect(read('web')).toMatchObject({ state: 'unknown', message: /64 KiB/ }));
    expect(addressesOf(read('other'))).toEqual(['10.2.0.9']);
    await harness.register('web', ready('10.2.0.2'));
    await shows('web', ['10.2.0.2']);
  });

  it('that cannot be read hide no other instance, and folders count as none', async () => {
    await harness.register('web', ready('10.2.0.1', '10.2.0.2'));
    const { service } = harness.ref('web');
    follow('web');
    await server.writer.set(`${PATH}/${service}/10.2.0.2`, 'no JSON');
    await server.writer.ensure(`${PATH}/${service}/folder/below`);
    await shows('web', ['10.2.0.1', '?']);
    await server.writer.remove(`${PATH}/${service}/folder/below`);
  });
});

describe('a server without data', () => {
  it('gives complete answers: a service that had instances has none, and others were never listed', async () => {
    await harness.register('web', ready('10.2.0.1'));
    for (const name of ['web', 'never']) follow(name);
    await shows('web', ['10.2.0.1']);
    await server.kill();
    await eventually(() => expect(read('web').state).toBe('unknown'));
    await server.start();
    await shows('web', []);
    expect(read('never')).toMatchObject({ state: 'absent', reason: 'ServiceUnknownToRegistry' });
    await harness.register('web', ready('10.2.0.2'));
    await shows('web', ['10.2.0.2']);
  });
});
