import {
  type ConsulRegistration,
  ConsulServer,
  MANAGEMENT_TOKEN,
} from '../test/support/registries/consul-server.ts';
import { ETCD_READER, EtcdServer } from '../test/support/registries/etcd-server.ts';
import { type Instance, placeKey } from './registered.ts';

type SecretData = Readonly<Record<string, string>>;

/** A real registry. */
export interface RegistryServer extends AsyncDisposable {
  readonly url: URL;
  /** `type` of a ServiceRegistry, and the section with this name. */
  spec(servers: readonly string[], secret: string): object;
  /** Of a user who may read everything. */
  readonly credentials: SecretData;
  /** Credentials of another such user. */
  issue(): Promise<{ readonly data: SecretData; revoke(): Promise<void> }>;
  /** Makes `instances` everything that the registry has of the service. */
  register(service: string, instances: readonly Instance[]): Promise<void>;
  /** Ends the server. After `start` it has no instance. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** Half of the seeds use each type. */
export function startRegistryServer(seed: number): Promise<RegistryServer> {
  return seed % 2 === 0 ? startEtcd() : startConsul();
}

async function startConsul(): Promise<RegistryServer> {
  const server = await ConsulServer.start({ acl: true });
  return {
    url: server.url,
    spec: (servers, name) => ({ type: 'Consul', consul: { servers, tokenSecretRef: { name } } }),
    credentials: { token: MANAGEMENT_TOKEN },
    async issue() {
      const body = { Policies: [{ Name: 'global-management' }] };
      const { AccessorID, SecretID } = (await server.request('PUT', '/v1/acl/token', body)) as {
        readonly AccessorID: string;
        readonly SecretID: string;
      };
      return {
        data: { token: SecretID },
        revoke: async () => void (await server.request('DELETE', `/v1/acl/token/${AccessorID}`)),
      };
    },
    register: (service, instances) => server.register(service, instances.map(consulRegistration(service))),
    kill: () => server.kill(),
    start: () => server.start(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function consulRegistration(service: string): (instance: Instance) => ConsulRegistration {
  return ({ host, port, health, weight }) => ({
    id: `${service}-${placeKey({ host, port })}`,
    address: host,
    port,
    status: health,
    weights: { Passing: weight, Warning: 1 },
  });
}

async function startEtcd(): Promise<RegistryServer> {
  const server = await EtcdServer.start();
  let users = 0;
  return {
    url: server.url,
    spec: (servers, name) => ({
      type: 'Etcd',
      etcd: { servers, format: 'JSON', usernameSecretRef: { name }, passwordSecretRef: { name } },
    }),
    credentials: ETCD_READER,
    async issue() {
      users += 1;
      const user = { ...ETCD_READER, username: `user-${users}` };
      await server.addUser(user, true);
      return { data: user, revoke: () => server.removeUser(user.username) };
    },
    register: (service, instances) =>
      server.replace(
        `/services/${service}/`,
        new Map(
          instances.map((instance) => [`/services/${service}/${placeKey(instance)}`, etcdValue(instance)]),
        ),
      ),
    kill: () => server.kill(),
    start: () => server.start(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function etcdValue({ host, port, health, weight }: Instance): string {
  const ready = health === 'passing';
  return JSON.stringify({ address: host, port, weight, ready, disabled: health === 'maintenance' });
}
