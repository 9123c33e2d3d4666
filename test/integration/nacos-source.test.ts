import { afterAll, beforeAll } from 'vitest';
import { nacos } from '../../src/sources/nacos/registry-type.ts';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { testDiscoverySource } from '../contract/discovery-source.ts';
import { NACOS_USER, NacosServer } from '../support/registries/nacos-server.ts';
import {
  createRegistryHarness,
  HTTP_FAULTS,
  type RegistryHarness,
  secretFault,
} from '../support/registries/source-harness.ts';

let server: NacosServer;

beforeAll(async () => {
  server = await NacosServer.start();
}, 900_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
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
      pollIntervalMs: 200,
      requestOf: (service) => `serviceName=${service}&`,
    }),
  faults: {
    ...HTTP_FAULTS,
    'the password is wrong': secretFault(() => ({ password: 'another-password' })),
    'the Secret is missing': secretFault(() => ({ password: undefined })),
  },
});
