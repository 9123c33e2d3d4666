import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NacosProtocol } from '../../../../src/sources/nacos/protocol.ts';
import { type NacosSection, nacosBackend, nacosRegistry } from '../../../../src/sources/nacos/schema.ts';
import type { InstancesRequest } from '../../../../src/sources/registry-source/protocol.ts';
import { ServiceNotAllowed } from '../../../../src/sources/registry-source/protocol.ts';
import { eventually } from '../../../support/eventually.ts';
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts';
import { NacosStandIn } from '../../../support/registries/nacos-stand-in.ts';

const PASSWORD = 'a password';
const AUTHENTICATED = {
  usernameSecretRef: { name: 'nacos', key: 'username' },
  passwordSecretRef: { name: 'nacos', key: 'password' },
};

let standIn: NacosStandIn;
let clock: FakeClock;
let protocol: NacosProtocol;
let secret: Record<string, string>;
let requested = 0;

function create(section: Partial<NacosSection> = {}, requestsPerSecond?: number): NacosProtocol {
  return new NacosProtocol({
    section: nacosRegistry.parse({ servers: [standIn.url.href], ...section }),
    secret: ({ key }) => ({ ok: true, value: secret[key] ?? '' }),
    limits: {
      concurrentQueries: 100,
      requestsPerSecond,
      requestTimeoutMs: 30_000,
      pollIntervalMs: 1000,
    },
    observer: {
      requested: () => {
        requested += 1;
      },
    },
    clock,
  });
}

beforeEach(async () => {
  standIn = await NacosStandIn.start();
  clock = createFakeClock();
  secret = { username: 'operator', password: PASSWORD };
  protocol = create();
});

afterEach(async () => {
  protocol.close();
  await standIn[Symbol.asyncDispose]();
});

type Cursor = InstancesRequest<never>['cursor'] | Awaited<ReturnType<NacosProtocol['ask']>>['cursor'];

function ask(cursor?: Cursor, options: object = {}, service = 'web') {
  const query = { service, options: nacosBackend.parse(options) };
  const request = { query, server: standIn.url, cursor, waitMs: 0, timeoutMs: 30_000 };
  return protocol.ask(request, new AbortController().signal);
}

/** `address state` of each instance. */
async function shown(cursor?: Cursor): Promise<readonly string[] | undefined> {
  const { instances } = await ask(cursor);
  return instances?.map(
    ({ ip, healthy, enabled }) => `${ip} ${enabled ? (healthy ? 'ready' : 'unhealthy') : 'disabled'}`,
  );
}

describe('the list of instances', () => {
  it('has the instances of all clusters, with fractional weights', async () => {
    standIn.hosts = [{ ip: '10.0.0.2', clusterName: 'HZ', weight: 0.3 }, { ip: '10.0.0.1' }];
    const { instances = [] } = await ask();
    const all = protocol.endpoints(instances, undefined);
    expect(all.map(({ address, weight }) => [address, weight])).toEqual([
      ['10.0.0.1', 1],
      ['10.0.0.2', 0.3],
    ]);
    const some = protocol.endpoints(instances, nacosBackend.parse({ clusters: ['HZ'] }));
    expect(some.map(({ address }) => address)).toEqual(['10.0.0.2']);
  });

  it('does not change if Nacos answers the same in another order', async () => {
    standIn.hosts = [{ ip: '10.0.0.1' }, { ip: '10.0.0.2', metadata: { zone: 'a' } }];
    const { cursor } = await ask();
    standIn.hosts = standIn.hosts.toReversed();
    expect(await ask(cursor)).toEqual({ instances: undefined, cursor });
  });

  it.each([
    { port: 8081 },
    { weight: 0.5 },
    { healthy: false },
    { clusterName: 'HZ' },
    { metadata: { zone: 'b' } },
    { metadata: { zone: 'a', version: '1' } },
    { metadata: {} },
  ])('changes if an instance has another value: %j', async (change) => {
    standIn.hosts = [{ ip: '10.0.0.1' }, { ip: '10.0.0.2', metadata: { zone: 'a' } }];
    const { cursor } = await ask();
    standIn.hosts = [{ ip: '10.0.0.1' }, { ip: '10.0.0.2', metadata: { zone: 'a' }, ...change }];
    expect((await ask(cursor)).instances).toHaveLength(2);
  });

  it('is read without invalid weights, ports and values of single instances', async () => {
    standIn.hosts = [
      { ip: '10.0.0.1', weight: 'NaN', port: 70_000, metadata: { version: null, zone: 'a' } },
      { ip: '10.0.0.2' },
    ];
    const { instances } = await ask();
    expect(instances).toMatchObject([
      { ip: '10.0.0.1', weight: 0, port: 0, metadata: { zone: 'a' } },
      { ip: '10.0.0.2', weight: 1, port: 8080 },
    ]);
  });

  it('is not treated as empty if the server cannot list all clusters', async () => {
    standIn.listsAllClusters = false;
    standIn.hosts = [{ ip: '10.0.0.1' }];
    await expect(ask()).rejects.toMatchObject({ reason: 'InvalidAnswer', scope: 'registry' });
  });

  it('is not treated as empty if the server can no longer list all clusters', async () => {
    standIn.hosts = [{ ip: '10.0.0.1' }, { ip: '10.0.0.2', clusterName: 'HZ' }];
    const { cursor } = await ask();
    // As after an upgrade.
    standIn.listsAllClusters = false;
    await expect(ask(cursor)).rejects.toMatchObject({ reason: 'InvalidAnswer' });
    standIn.hosts = [{ ip: '10.0.0.2', clusterName: 'HZ' }];
    await expect(ask(cursor)).rejects.toMatchObject({ reason: 'InvalidAnswer' });
    standIn.hosts = [];
    expect((await ask(cursor)).instances).toEqual([]);
  });

  it('is refused for a group that the ServiceRegistry does not list', async () => {
    protocol.close();
    protocol = create({ groups: ['orders'] });
    await expect(ask(undefined, { group: 'payments' })).rejects.toThrow('does not list group payments');
    await expect(ask()).rejects.toThrow('does not list group DEFAULT_GROUP');
    await expect(ask()).rejects.toBeInstanceOf(ServiceNotAllowed);
    expect((await ask(undefined, { group: 'orders' })).instances).toEqual([]);
    expect(standIn.requestsFor('payments')).toBe(0);
  });

  it('is refused for a service whose name contains a group, which older servers use', async () => {
    protocol.close();
    protocol = create({ groups: ['orders'] });
    const answer = ask(undefined, { group: 'orders' }, 'payments@@payroll');
    await expect(answer).rejects.toMatchObject({ reason: 'Unauthorized', scope: 'service' });
    await expect(answer).rejects.toThrow('must not contain @@: set nacos.group');
    expect(standIn.requests).toEqual([]);
  });
});

describe('an instance that is disabled', () => {
  const both = [{ ip: '10.0.0.1' }, { ip: '10.0.0.2', clusterName: 'HZ' }];
  const disabled = [{ ip: '10.0.0.1' }, { ip: '10.0.0.2', clusterName: 'HZ', enabled: false }];

  it.each(['v3', 'v1'] as const)('is shown as disabled until it is deregistered (%s)', async (api) => {
    standIn.apis.clear();
    standIn.apis.add(api);
    standIn.hosts = both;
    const first = await ask();
    standIn.hosts = disabled;
    const second = await ask(first.cursor);
    expect(await shown(first.cursor)).toEqual(['10.0.0.1 ready', '10.0.0.2 disabled']);
    expect((await ask(second.cursor)).instances).toBeUndefined();
    standIn.hosts = both;
    expect(await shown(second.cursor)).toEqual(['10.0.0.1 ready', '10.0.0.2 ready']);
    standIn.hosts = [{ ip: '10.0.0.1' }];
    expect(await shown(second.cursor)).toEqual(['10.0.0.1 ready']);
  });

  it('costs a second request only while an instance is missing', async () => {
    standIn.hosts = both;
    let { cursor } = await ask();
    for (let n = 0; n < 3; n += 1) ({ cursor } = await ask(cursor));
    expect(standIn.requestsFor('admin')).toBe(0);
    standIn.hosts = disabled;
    ({ cursor } = await ask(cursor));
    expect(standIn.requestsFor('admin')).toBe(1);
    standIn.hosts = [{ ip: '10.0.0.1' }];
    ({ cursor } = await ask(cursor));
    ({ cursor } = await ask(cursor));
    expect(standIn.requestsFor('admin')).toBe(2);
  });

  it('is shown at once where no other instance is left', async () => {
    standIn.hosts = [{ ip: '10.0.0.1', enabled: false }];
    expect(await shown()).toEqual(['10.0.0.1 disabled']);
  });

  it('is missing where the list of a cluster is forbidden, which does not end the answer', async () => {
    standIn.hosts = both;
    const { cursor } = await ask();
    standIn.hosts = disabled;
    standIn.clusterListStatus = 403;
    const second = await ask(cursor);
    expect(second.instances).toHaveLength(1);
    await ask(second.cursor);
    expect(standIn.requestsFor('admin')).toBe(1);
  });

  it('is requested again after the list of its cluster failed', async () => {
    standIn.hosts = both;
    const { cursor } = await ask();
    standIn.hosts = disabled;
    standIn.clusterListStatus = 503;
    const second = await ask(cursor);
    expect(second.instances).toHaveLength(1);
    standIn.clusterListStatus = undefined;
    expect(await shown(second.cursor)).toEqual(['10.0.0.1 ready', '10.0.0.2 disabled']);
  });
});

describe('the version of the API', () => {
  it('is the newest that the server has', async () => {
    await ask();
    expect(standIn.requestsFor('/v1/')).toBe(0);
  });

  it('is the older one on an older server, and the newer one after an upgrade', async () => {
    standIn.hosts = [{ ip: '10.0.0.1' }];
    standIn.apis.delete('v3');
    expect(await shown()).toEqual(['10.0.0.1 ready']);
    expect(await shown()).toEqual(['10.0.0.1 ready']);
    expect(standIn.requestsFor('/v3/')).toBe(1);
    standIn.apis.add('v3').delete('v1');
    expect(await shown()).toEqual(['10.0.0.1 ready']);
  });

  it('is found through the login where the server asks for one', async () => {
    protocol.close();
    protocol = create(AUTHENTICATED);
    standIn.password = PASSWORD;
    standIn.apis.delete('v3');
    expect(await shown()).toEqual([]);
  });

  it('is missing on a server that is not Nacos', async () => {
    standIn.apis.clear();
    await expect(ask()).rejects.toMatchObject({ reason: 'InvalidAnswer', scope: 'server' });
  });
});

describe('the version of the server', () => {
  it.each([
    ['v3', '3.1.0'],
    ['v1', '2.0.3'],
  ] as const)('is read over %s', async (api, version) => {
    standIn.apis.clear();
    standIn.apis.add(api);
    await ask();
    const request = { server: standIn.url, timeoutMs: 30_000 };
    expect(await protocol.version(request, new AbortController().signal)).toBe(version);
    expect(protocol.api(standIn.url)).toBe(api);
  });

  it('is unknown if a server does not report it', async () => {
    standIn.apis.clear();
    const request = { server: standIn.url, timeoutMs: 30_000 };
    expect(await protocol.version(request, new AbortController().signal)).toBeUndefined();
    expect(protocol.api(standIn.url)).toBeUndefined();
  });
});

describe('the login', () => {
  beforeEach(() => {
    protocol.close();
    protocol = create(AUTHENTICATED);
    standIn.password = PASSWORD;
  });

  const askMany = (count: number) =>
    Promise.allSettled(Array.from({ length: count }, (_, n) => ask(undefined, {}, `service-${n}`)));
  const failures = (results: readonly PromiseSettledResult<unknown>[]) =>
    results.filter(({ status }) => status === 'rejected').length;

  it('is shared by all services', async () => {
    expect(failures(await askMany(50))).toBe(0);
    expect(failures(await askMany(50))).toBe(0);
    expect(standIn.logins).toBe(1);
  });

  it('is renewed once before the token expires, and no request waits for it', async () => {
    standIn.tokenTtl = 100;
    await ask();
    await clock.advance(79_000);
    await ask();
    expect(standIn.logins).toBe(1);
    await clock.advance(2_000);
    expect(failures(await askMany(20))).toBe(0);
    expect(standIn.logins).toBe(2);
  });

  it('may fail while the token is valid', async () => {
    standIn.tokenTtl = 100;
    await ask();
    standIn.loginStatus = 500;
    await clock.advance(90_000);
    expect(failures(await askMany(20))).toBe(0);
    expect(standIn.logins).toBe(2);
    await clock.advance(11_000);
    expect(failures(await askMany(1))).toBe(1);
    standIn.loginStatus = undefined;
    await clock.advance(10_000);
    expect(failures(await askMany(1))).toBe(0);
  });

  it('is repeated once for all services after the server rejected the token', async () => {
    await ask();
    await clock.advance(60_000);
    standIn.invalidateTokens();
    expect(failures(await askMany(50))).toBe(0);
    expect(standIn.logins).toBe(2);
  });

  it('stays valid for other services while it fails after the server rejected one of them', async () => {
    await ask();
    await clock.advance(60_000);
    standIn.forbidden = 'payroll';
    standIn.loginStatus = 500;
    await expect(ask(undefined, {}, 'payroll')).rejects.toMatchObject({ reason: 'Unauthorized' });
    expect(failures(await askMany(5))).toBe(0);
  });

  it('is not repeated for each request of a user without permissions', async () => {
    standIn.hasNoRights = true;
    for (let n = 0; n < 5; n += 1) expect(failures(await askMany(20))).toBe(20);
    expect(standIn.logins).toBe(1);
    await clock.advance(60_000);
    standIn.hasNoRights = false;
    expect(failures(await askMany(20))).toBe(0);
  });

  it('is not repeated for each request with a wrong password, and at once with another one', async () => {
    secret = { ...secret, password: 'wrong' };
    for (let n = 0; n < 5; n += 1) expect(failures(await askMany(20))).toBe(20);
    expect(standIn.logins).toBe(1);
    secret = { ...secret, password: PASSWORD };
    expect(failures(await askMany(20))).toBe(0);
    expect(standIn.logins).toBe(2);
  });

  it('holds up neither a stop nor other credentials while the server does not answer it', async () => {
    standIn.isSilentAtLogin = true;
    const stop = new AbortController();
    const query = { service: 'web', options: undefined };
    const request = { query, server: standIn.url, cursor: undefined, waitMs: 0, timeoutMs: 30_000 };
    const answer = protocol.ask(request, stop.signal);
    await eventually(() => expect(standIn.logins).toBe(1));
    stop.abort(new Error('stopped'));
    await expect(answer).rejects.toThrow('stopped');
    standIn.isSilentAtLogin = false;
    standIn.password = 'another password';
    secret = { ...secret, password: 'another password' };
    expect(await shown()).toEqual([]);
  });

  it('reveals neither password nor token', async () => {
    standIn.hasNoRights = true;
    const messages = [await ask().catch(String)];
    secret = { ...secret, password: 'wrong-password' };
    messages.push(await ask().catch(String));
    for (const hidden of [PASSWORD, 'wrong-password', 'token-']) {
      expect(messages.join()).not.toContain(hidden);
    }
    expect(standIn.requests.join()).not.toContain('token-');
  });
});

describe('each request of an answer', () => {
  it('is counted, also that of the login', async () => {
    protocol.close();
    protocol = create(AUTHENTICATED);
    standIn.password = PASSWORD;
    requested = 0;
    await ask();
    // The login, the list, and those of the cluster DEFAULT, because the list is empty.
    expect(requested).toBe(4);
    expect(requested).toBe(standIn.requests.length);
  });

  it('waits for the rate limit', async () => {
    protocol.close();
    protocol = create({}, 2);
    const began = performance.now();
    await ask();
    expect(standIn.requests).toHaveLength(3);
    expect(performance.now() - began).toBeGreaterThan(900);
  });
});
