import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { NacosProtocol } from '../../src/sources/nacos/protocol.ts';
import { nacos } from '../../src/sources/nacos/registry-type.ts';
import { nacosBackend, nacosRegistry } from '../../src/sources/nacos/schema.ts';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { testDiscoverySource } from '../contract/discovery-source.ts';
import { eventually } from '../support/eventually.ts';
import { ApiProxy } from '../support/registries/api-proxy.ts';
import { NACOS_USER, NacosServer } from '../support/registries/nacos-server.ts';
import {
  createRegistryHarness,
  HTTP_FAULTS,
  type RegistryHarness,
  secretFault,
} from '../support/registries/source-harness.ts';

type Cursor = Awaited<ReturnType<NacosProtocol['ask']>>['cursor'];

let server: NacosServer;

beforeAll(async () => {
  // The source must log in again several times while the suite runs.
  server = await NacosServer.start({ tokenSeconds: 20 });
}, 900_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

testDiscoverySource<ServiceQuery, RegistryHarness>({
  name: 'Nacos',
  histories: 5,
  // Nacos lists instances that are enabled. What another list shows of the others is read once one is missing.
  showsLeaving: 'OnceListed',
  create: () =>
    createRegistryHarness({
      type: nacos,
      server: {
        url: server.url,
        register: (service, instances) =>
          server.register(
            service,
            instances.map(({ address, state }) => ({
              ip: address,
              port: 8080,
              healthy: state !== 'notReady',
              enabled: state !== 'leaving',
            })),
          ),
      },
      section: (proxyUrl) => ({
        servers: [proxyUrl],
        namespaceId: 'public',
        usernameSecretRef: { name: 'nacos', key: 'username' },
        passwordSecretRef: { name: 'nacos', key: 'password' },
      }),
      secret: { ...NACOS_USER },
      secrets: [NACOS_USER.password],
      pollIntervalMs: 400,
      // Polls of 500 services wait for each other rather than for a server that a busy machine slows down.
      concurrentQueries: 10,
      requestOf: (service) => `serviceName=${service}&`,
    }),
  faults: {
    ...HTTP_FAULTS,
    'the password is wrong': secretFault(() => ({ password: 'another-password' })),
    'the Secret is missing': secretFault(() => ({ password: undefined })),
  },
});

describe.each(['v3', 'v1'] as const)('Nacos over the API %s', (api) => {
  const service = `web-${api}`;
  let protocol: NacosProtocol | undefined;
  let proxy: ApiProxy;

  beforeEach(async () => {
    proxy = await ApiProxy.start(server.url, api);
  });

  afterEach(async () => {
    protocol?.close();
    protocol = undefined;
    await proxy[Symbol.asyncDispose]();
  });

  const protocolOf = (section: object = {}, user = NACOS_USER as { username: string; password: string }) => {
    protocol?.close();
    protocol = new NacosProtocol({
      section: nacosRegistry.parse({
        servers: [proxy.url.href],
        usernameSecretRef: { name: 'nacos' },
        passwordSecretRef: { name: 'nacos' },
        ...section,
      }),
      secret: ({ key }) => ({ ok: true, value: key === 'username' ? user.username : user.password }),
      limits: {
        concurrentQueries: 10,
        requestsPerSecond: undefined,
        requestTimeoutMs: 5000,
        pollIntervalMs: 1000,
      },
      clock: systemClock,
    });
    return protocol;
  };
  const ask = (of: NacosProtocol, options: object = {}, cursor?: Cursor) =>
    of.ask(
      {
        query: { service, options: nacosBackend.parse(options) },
        server: proxy.url,
        cursor,
        waitMs: 0,
        timeoutMs: 5000,
      },
      new AbortController().signal,
    );
  const shown = async (of: NacosProtocol, options: object = {}) => {
    const { cursor } = await ask(of, options);
    return of
      .endpoints(cursor.instances, nacosBackend.parse(options))
      .map(({ address, weight }) => `${address} ${weight}`);
  };
  const register = (fields: Readonly<Record<string, string>>) =>
    server.request('POST', '/nacos/v3/client/ns/instance', {
      serviceName: service,
      port: '8080',
      ephemeral: 'true',
      ...fields,
    });

  it('keeps namespaces, groups and clusters apart', async () => {
    const namespaceId = `team-${api}`;
    await server.request('POST', '/nacos/v3/admin/core/namespace', {
      customNamespaceId: namespaceId,
      namespaceId,
      namespaceName: namespaceId,
    });
    await register({ ip: '10.5.0.1' });
    await register({ ip: '10.5.0.2', clusterName: 'HZ', weight: '0.3' });
    await register({ ip: '10.5.0.3', groupName: 'payments' });
    await register({ ip: '10.5.0.4', namespaceId });
    const all = protocolOf();
    await eventually(async () => expect(await shown(all)).toEqual(['10.5.0.1 1', '10.5.0.2 0.3']));
    expect(await shown(all, { clusters: ['HZ'] })).toEqual(['10.5.0.2 0.3']);
    await eventually(async () => expect(await shown(all, { group: 'payments' })).toEqual(['10.5.0.3 1']));
    const team = protocolOf({ namespaceId });
    await eventually(async () => expect(await shown(team)).toEqual(['10.5.0.4 1']));
    expect(team.api(proxy.url)).toBe(api);
  });

  it('shows disabled instances to a user who may read the services of the namespace, and nothing else', async () => {
    const user = { username: `reader-${api}`, password: 'password-of-a-reader' };
    await server.request('POST', '/nacos/v3/auth/user', user);
    const role = `readers-${api}`;
    await server.request('POST', '/nacos/v3/auth/role', { role, username: user.username });
    const permission = { resource: 'public:*:naming/*', action: 'r' };
    await server.request('POST', '/nacos/v3/auth/permission', { role, ...permission });
    const group = { groupName: 'readers' };
    await register({ ip: '10.6.0.1', ...group });
    await register({ ip: '10.6.0.2', clusterName: 'HZ', ...group });
    const reader = protocolOf({}, user);
    const options = { group: 'readers' };
    await eventually(async () => expect(await shown(reader, options)).toHaveLength(2));
    const { cursor } = await ask(reader, options);
    await register({ ip: '10.6.0.2', clusterName: 'HZ', enabled: 'false', ...group });
    await eventually(async () =>
      expect((await ask(reader, options, cursor)).instances).toMatchObject([
        { ip: '10.6.0.1', enabled: true },
        { ip: '10.6.0.2', enabled: false },
      ]),
    );
    const elsewhere = protocolOf({ namespaceId: 'elsewhere' }, user);
    await expect(ask(elsewhere)).rejects.toMatchObject({ reason: 'Unauthorized' });
  });

  // Nacos 3 says its version only over its own API.
  it.runIf(api === 'v3')('reports the version of the server', async () => {
    const of = protocolOf();
    await ask(of);
    const request = { server: proxy.url, timeoutMs: 5000 };
    const version = await of.version(request, new AbortController().signal);
    expect(version).toMatch(/^3\.1\./);
  });
});
