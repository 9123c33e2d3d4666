import { EtcdServer } from '../support/registries/etcd-server.ts';
import type { RegistryUnderTest } from '../support/registries/registry-under-test.ts';
import { testRegistryFaults } from './registry-faults.ts';

const PREFIX = '/services';
const PASSWORD = 'password-of-a-user-of-the-suite';

const keyOf = (service: string, address: string) => `${PREFIX}/${service}/${address}`;
const entryOf = (address: string, fields: object) => JSON.stringify({ address, port: 8080, ...fields });

async function startEtcd(): Promise<RegistryUnderTest> {
  const server = await EtcdServer.start();
  let users = 0;
  const newUser = async (mayRead: boolean) => {
    users += 1;
    const user = { username: `user-${users}`, password: PASSWORD };
    await server.addUser(user, mayRead);
    return user;
  };
  return {
    url: server.url,
    type: 'Etcd',
    register: (service, instances) =>
      server.replace(
        `${PREFIX}/${service}/`,
        new Map(
          instances.map(({ address, ready = true }) => [
            keyOf(service, address),
            entryOf(address, { ready }),
          ]),
        ),
      ),
    touch: (service, address) =>
      server.put(
        keyOf(service, address),
        entryOf(address, { ready: true, metadata: { touched: `${performance.now()}` } }),
      ),
    kill: () => server.kill(),
    start: () => server.start(),
    spec: (servers, secret) => ({
      type: 'Etcd',
      etcd: {
        servers,
        format: 'JSON',
        usernameSecretRef: { name: secret },
        passwordSecretRef: { name: secret },
      },
    }),
    credentials: () => newUser(true),
    withoutRights: () => newUser(false),
    unknown: { username: 'nobody', password: PASSWORD },
    async revocable() {
      const data = await newUser(true);
      return { data, revoke: () => server.removeUser(data.username) };
    },
    backup: () => server.backup(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

testRegistryFaults({ name: 'etcd', start: startEtcd });
