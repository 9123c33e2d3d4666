import {
  type ConsulRegistration,
  ConsulServer,
  MANAGEMENT_TOKEN,
} from '../support/registries/consul-server.ts';
import type { RegistryUnderTest } from '../support/registries/registry-under-test.ts';
import { testRegistryFaults } from './registry-faults.ts';

/** What docs/registry-consul.md tells users to grant. */
const RULES = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }';
const POLICY = 'gateway-upstream-operator';
/** Consul does not accept a shorter one. */
const TTL_MS = 60_000;

/** On a node of its own: Consul's work for a change grows with the number of instances on the node. */
function registrationOf(
  service: string,
  address: string,
  status: ConsulRegistration['status'],
): ConsulRegistration {
  return {
    id: `${service}-${address}`,
    address,
    port: 8080,
    status,
    node: { name: `vm-${address}`, address },
  };
}

async function startConsul(): Promise<RegistryUnderTest> {
  const server = await ConsulServer.start({ acl: true });
  const createPolicy = () => server.request('PUT', '/v1/acl/policy', { Name: POLICY, Rules: RULES });
  await createPolicy();
  const newToken = async (fields: object) => {
    return (await server.request('PUT', '/v1/acl/token', fields)) as {
      readonly AccessorID: string;
      readonly SecretID: string;
    };
  };
  const permitted = { Policies: [{ Name: POLICY }] };
  return {
    url: server.url,
    type: 'Consul',
    register: (service, instances) =>
      server.register(
        service,
        instances.map(({ address, ready = true }) =>
          registrationOf(service, address, ready ? 'passing' : 'critical'),
        ),
      ),
    touch: (service, address) =>
      server.update(service, {
        ...registrationOf(service, address, 'passing'),
        meta: { touched: `${performance.now()}` },
      }),
    kill: () => server.kill(),
    async start() {
      await server.start();
      await createPolicy();
    },
    spec: (servers, secret) => ({
      type: 'Consul',
      consul: { servers, tokenSecretRef: { name: secret } },
    }),
    credentials: async () => ({ token: (await newToken(permitted)).SecretID }),
    withoutRights: async () => ({ token: (await newToken({})).SecretID }),
    unknown: { token: '00000000-1111-2222-3333-444444444444' },
    async revocable() {
      const { AccessorID, SecretID } = await newToken(permitted);
      return {
        data: { token: SecretID },
        revoke: async () => void (await server.request('DELETE', `/v1/acl/token/${AccessorID}`)),
      };
    },
    async expiring() {
      const expiresAtMs = performance.now() + TTL_MS;
      const { SecretID } = await newToken({ ...permitted, ExpirationTTL: `${TTL_MS / 1000}s` });
      return { data: { token: SecretID }, expiresAtMs };
    },
    async backup() {
      const headers = { 'x-consul-token': MANAGEMENT_TOKEN };
      const url = new URL('/v1/snapshot', server.url);
      const snapshot = await (await fetch(url, { headers })).arrayBuffer();
      return async () => {
        const response = await fetch(url, { method: 'PUT', headers, body: snapshot });
        if (!response.ok) throw new Error(`Consul answered ${response.status}: ${await response.text()}`);
      };
    },
    async answer(service) {
      const headers = { 'x-consul-token': MANAGEMENT_TOKEN };
      const response = await fetch(new URL(`/v1/health/service/${service}`, server.url), { headers });
      return {
        headers: { 'x-consul-index': response.headers.get('x-consul-index') ?? '' },
        text: await response.text(),
        isForwarded: (url) => url.searchParams.has('consistent'),
      };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

testRegistryFaults({ name: 'Consul', start: startConsul });
