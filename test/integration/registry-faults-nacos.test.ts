import { randomUUID } from 'node:crypto';
import { NacosServer } from '../support/registries/nacos-server.ts';
import { ReadBarrier } from '../support/registries/read-barrier.ts';
import type { RegistryUnderTest } from '../support/registries/registry-under-test.ts';
import { testRegistryFaults } from './registry-faults.ts';

/** What docs/registry-nacos.md tells users to grant. */
const PERMISSION = { resource: 'public:*:naming/*', action: 'r' } as const;

async function startNacos(): Promise<RegistryUnderTest> {
  await using started = new AsyncDisposableStack();
  const server = started.use(await NacosServer.start());
  const barrier = started.use(await ReadBarrier.start(server.url));
  const newUser = async () => {
    const user = { username: `user-${randomUUID()}`, password: randomUUID() };
    await server.request('POST', '/nacos/v3/auth/user', user);
    return user;
  };
  const newPermittedUser = async () => {
    const user = await newUser();
    const role = `role-of-${user.username}`;
    await server.request('POST', '/nacos/v3/auth/role', { role, username: user.username });
    await server.request('POST', '/nacos/v3/auth/permission', { role, ...PERMISSION });
    const revoke = async () => {
      await server.request('DELETE', '/nacos/v3/auth/permission', { role, ...PERMISSION });
    };
    return { data: user, revoke };
  };
  const owned = started.move();
  return {
    url: barrier.url,
    type: 'Nacos',
    register: (service, instances) =>
      barrier.during(() =>
        server.register(
          service,
          instances.map(({ address, ready = true }) => ({
            ip: address,
            port: 8080,
            healthy: ready,
            enabled: true,
          })),
        ),
      ),
    touch: (service, address) =>
      server.update(service, {
        ip: address,
        port: 8080,
        healthy: true,
        enabled: true,
        metadata: { touched: `${performance.now()}` },
      }),
    kill: () => server.kill(),
    start: () => server.start(),
    spec: (servers, secret) => ({
      type: 'Nacos',
      nacos: { servers, usernameSecretRef: { name: secret }, passwordSecretRef: { name: secret } },
    }),
    credentials: async () => (await newPermittedUser()).data,
    withoutRights: newUser,
    unknown: { username: 'unknown', password: 'unknown' },
    revocable: newPermittedUser,
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

testRegistryFaults({ name: 'Nacos', start: startNacos });
