import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { EtcdProtocol } from '../../src/sources/etcd/protocol.ts';
import { etcd } from '../../src/sources/etcd/registry-type.ts';
import { type EtcdSection, etcdRegistry } from '../../src/sources/etcd/schema.ts';
import { eventually } from '../support/eventually.ts';
import { ETCD_READER, EtcdServer } from '../support/registries/etcd-server.ts';
import { createRegistryHarness, type RegistryHarness } from '../support/registries/source-harness.ts';

const PREFIX = '/services';
const USER = {
  usernameSecretRef: { name: 'etcd', key: 'username' },
  passwordSecretRef: { name: 'etcd', key: 'password' },
};

const keyOf = (service: string, address: string) => `${PREFIX}/${service}/${address}`;
const query = (service: string) => ({ service, options: undefined });

function sectionOf(servers: readonly string[], fields: object = {}): EtcdSection {
  return etcdRegistry.parse({ servers, format: 'HostPort', ...fields });
}

/** Everything that etcd has of the service. */
async function register(server: EtcdServer, service: string, ...addresses: readonly string[]): Promise<void> {
  const entries = addresses.map((address) => [keyOf(service, address), `${address}:8080`] as const);
  await server.replace(`${PREFIX}/${service}/`, new Map(entries));
}

/** Follows services until the test ends. */
async function following(
  server: EtcdServer,
  section: (proxyUrl: string) => EtcdSection,
  services: readonly string[],
): Promise<AsyncDisposable & Pick<RegistryHarness, 'proxy'> & { shows(service: string): unknown }> {
  const harness = await createRegistryHarness({
    type: etcd,
    server: { url: server.url, register: () => Promise.resolve() },
    section,
    secret: { ...ETCD_READER },
    secrets: [],
    pollIntervalMs: 200,
  });
  const stop = new AbortController();
  const running = harness.run?.(stop.signal);
  const uses = services.map((service) => harness.source.subscribe(query(service), () => undefined));
  return {
    proxy: harness.proxy,
    /** The addresses, or why they are unknown. */
    shows(service) {
      const found = harness.source.read(query(service));
      if (found.state === 'known') return found.endpoints.map(({ address }) => address);
      return found.state === 'unknown' ? found.message : found.state;
    },
    async [Symbol.asyncDispose]() {
      for (const use of uses) use[Symbol.dispose]();
      stop.abort();
      await running;
      await harness[Symbol.asyncDispose]();
    },
  };
}

describe('a cluster of three members', () => {
  let server: EtcdServer;

  beforeAll(async () => {
    server = await EtcdServer.start({ members: 3, users: false });
  }, 900_000);

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  it('is unknown at a member without a leader, and current again when there is one', async () => {
    await register(server, 'minority', '10.0.0.1');
    await using source = await following(server, (url) => sectionOf([url]), ['minority']);
    await eventually(() => expect(source.shows('minority')).toEqual(['10.0.0.1']));
    const others = [server.member(1).component, server.member(2).component];
    for (const other of others) await other.stop();
    await eventually(() => expect(source.shows('minority')).toMatch(/gave no complete answer/));
    await Promise.all(others.map((other) => other.start()));
    await eventually(() => register(server, 'minority', '10.0.0.2'));
    await eventually(() => expect(source.shows('minority')).toEqual(['10.0.0.2']));
  });

  it('is followed at another member while one does not answer', async () => {
    const urls = server.urls.map(({ href }) => href);
    await register(server, 'frozen', '10.0.0.1');
    await using source = await following(server, () => sectionOf(urls), ['frozen']);
    await eventually(() => expect(source.shows('frozen')).toEqual(['10.0.0.1']));
    // Not the first one, which the test itself uses.
    for (const index of [1, 2]) {
      const { component } = server.member(index);
      component.signal('SIGSTOP');
      try {
        // A new leader may have to be elected.
        await eventually(() => register(server, 'frozen', `10.0.1.${index}`));
        await eventually(() => expect(source.shows('frozen')).toEqual([`10.0.1.${index}`]));
      } finally {
        component.signal('SIGCONT');
      }
    }
  });
});

describe('one member', () => {
  let server: EtcdServer;

  beforeAll(async () => {
    server = await EtcdServer.start({ tokenTtlSeconds: 2 });
  }, 900_000);

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  function protocolOf(fields: object, user: Readonly<Record<'username' | 'password', string>>): EtcdProtocol {
    return new EtcdProtocol({
      section: sectionOf([server.url.href], { ...USER, ...fields }),
      secret: ({ key }) => ({ ok: true, value: user[key as keyof typeof user] }),
      limits: {
        concurrentQueries: 1,
        requestsPerSecond: undefined,
        requestTimeoutMs: 5000,
        pollIntervalMs: 1000,
      },
      clock: systemClock,
    });
  }

  it('is read again after the revision of the last answer was compacted', async () => {
    const protocol = protocolOf({}, ETCD_READER);
    const ask = (cursor: Awaited<ReturnType<EtcdProtocol['ask']>>['cursor'] | undefined) => {
      const wait = { waitMs: cursor === undefined ? 0 : 60_000, timeoutMs: 5000 };
      return protocol.ask(
        { query: query('compacted'), server: server.url, cursor, ...wait },
        new AbortController().signal,
      );
    };
    await register(server, 'compacted', '10.0.0.1');
    const first = await ask(undefined);
    for (let n = 0; n < 20; n += 1) await register(server, 'compacted', `10.0.0.${n}`);
    const { header } = (await server.request('/v3/kv/range', { key: 'YQ==' })) as {
      readonly header: { readonly revision: string };
    };
    await server.request('/v3/kv/compaction', { revision: header.revision, physical: true });
    const next = await ask(first.cursor);
    expect(next.instances?.flatMap(({ places }) => places.map(({ address }) => address))).toEqual([
      '10.0.0.19',
    ]);
    protocol.close();
  });

  it('needs one login for all services when its tokens have expired', async () => {
    const services = Array.from({ length: 20 }, (_, n) => `expired-${n}`);
    for (const service of services) await register(server, service, '10.0.0.1');
    await using source = await following(server, (url) => sectionOf([url], USER), services);
    for (const service of services)
      await eventually(() => expect(source.shows(service)).toEqual(['10.0.0.1']));
    const logins = () => source.proxy.requestsFor('/v3/auth/authenticate');
    expect(logins()).toBe(1);
    // Nothing uses the token during this time. etcd removes expired tokens once per second.
    await new Promise((resolve) => setTimeout(resolve, 4500));
    for (const service of services) await register(server, service, '10.0.0.2');
    for (const service of services)
      await eventually(() => expect(source.shows(service)).toEqual(['10.0.0.2']));
    expect(logins()).toBe(2);
  });

  it('is ready for a user who may read only one service and the key of probes', async () => {
    const user = { username: 'limited', password: 'password-of-the-limited-user' };
    const readOnly = (key: string) =>
      server.request('/v3/auth/role/grant', {
        name: 'limited',
        perm: {
          permType: 'READ',
          key: Buffer.from(`${key}/`).toString('base64'),
          range_end: Buffer.from(`${key}0`).toString('base64'),
        },
      });
    await server.request('/v3/auth/role/add', { name: 'limited' });
    await readOnly('own');
    await server.request('/v3/auth/user/add', { name: user.username, password: user.password });
    await server.request('/v3/auth/user/grant', { user: user.username, role: 'limited' });
    await server.put('own/1', '10.0.0.1:8080');
    const protocol = protocolOf({ format: 'GoZero' }, user);
    const ask = (service: string) =>
      protocol.ask(
        { query: query(service), server: server.url, cursor: undefined, waitMs: 0, timeoutMs: 5000 },
        new AbortController().signal,
      );
    expect((await ask('own')).instances).toHaveLength(1);
    const { service } = protocol.probe;
    await expect(ask(service)).rejects.toMatchObject({
      reason: 'Unauthorized',
      remedy: expect.stringContaining(`${service}/`),
    });
    await readOnly(service);
    await expect(ask(service)).resolves.toMatchObject({ instances: [] });
    await expect(ask('other')).rejects.toMatchObject({ reason: 'Unauthorized' });
    protocol.close();
  });

  it('loses an instance when its lease expires', async () => {
    const { ID } = (await server.request('/v3/lease/grant', { TTL: 2 })) as { readonly ID: string };
    await register(server, 'leased', '10.0.0.1');
    await server.put(keyOf('leased', '10.0.0.2'), '10.0.0.2:8080', { lease: ID });
    await using source = await following(server, (url) => sectionOf([url], USER), ['leased']);
    await eventually(() => expect(source.shows('leased')).toEqual(['10.0.0.1', '10.0.0.2']));
    await eventually(() => expect(source.shows('leased')).toEqual(['10.0.0.1']));
  });

  it('loses no change of 100, one after the other', async () => {
    await register(server, 'changing', '10.0.0.0');
    await using source = await following(server, (url) => sectionOf([url], USER), ['changing']);
    for (let n = 1; n <= 100; n += 1) await register(server, 'changing', `10.0.0.${n}`);
    await eventually(() => expect(source.shows('changing')).toEqual(['10.0.0.100']));
  });
});
