import { afterAll, beforeAll } from 'vitest';
import { consul } from '../../src/sources/consul/registry-type.ts';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { testDiscoverySource } from '../contract/discovery-source.ts';
import { ConsulServer, MANAGEMENT_TOKEN } from '../support/registries/consul-server.ts';
import {
  createRegistryHarness,
  HTTP_FAULTS,
  type RegistryHarness,
  secretFault,
} from '../support/registries/source-harness.ts';

const STATES = { ready: 'passing', notReady: 'critical', leaving: 'maintenance' } as const;

let server: ConsulServer;
/** A token that Consul knows and that may read nothing. */
let tokenWithoutRights: string;

beforeAll(async () => {
  server = await ConsulServer.start({ acl: true });
  const created = await server.request('PUT', '/v1/acl/token', { Description: 'without rights' });
  tokenWithoutRights = (created as { readonly SecretID: string }).SecretID;
}, 900_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

testDiscoverySource<ServiceQuery, RegistryHarness>({
  name: 'Consul',
  histories: 10,
  create: () =>
    createRegistryHarness({
      type: consul,
      server: {
        url: server.url,
        register: (service, instances) =>
          server.register(
            service,
            instances.map(({ address, state }) => ({
              id: `${service}-${address}`,
              address,
              port: 8080,
              status: STATES[state],
            })),
          ),
      },
      section: (proxyUrl) => ({ servers: [proxyUrl], tokenSecretRef: { name: 'consul', key: 'token' } }),
      secret: { token: MANAGEMENT_TOKEN },
      secrets: [MANAGEMENT_TOKEN],
      pollIntervalMs: 1000,
    }),
  faults: {
    ...HTTP_FAULTS,
    'the token is unknown': secretFault(() => ({ token: 'another-token' })),
    'the token has no rights': secretFault(() => ({ token: tokenWithoutRights })),
    'the Secret is missing': secretFault(() => ({ token: undefined })),
  },
});
