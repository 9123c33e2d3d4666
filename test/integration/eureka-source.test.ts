import { afterAll, beforeAll } from 'vitest';
import { eureka } from '../../src/sources/eureka/registry-type.ts';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { testDiscoverySource } from '../contract/discovery-source.ts';
import { EUREKA_USER, EurekaServer } from '../support/registries/eureka-server.ts';
import { ReadBarrier } from '../support/registries/read-barrier.ts';
import {
  createRegistryHarness,
  HTTP_FAULTS,
  type RegistryHarness,
  secretFault,
} from '../support/registries/source-harness.ts';

let server: EurekaServer;
/** Eureka has no transactions. */
let barrier: ReadBarrier;

beforeAll(async () => {
  server = await EurekaServer.start();
  barrier = await ReadBarrier.start(server.url);
}, 900_000);

afterAll(async () => {
  await barrier?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const STATUS = { ready: 'UP', notReady: 'DOWN', leaving: 'OUT_OF_SERVICE' } as const;

testDiscoverySource<ServiceQuery, RegistryHarness>({
  name: 'Eureka',
  histories: 5,
  create: () =>
    createRegistryHarness({
      type: eureka,
      server: {
        url: barrier.url,
        register: (service, instances) =>
          barrier.during(() =>
            server.register(
              service,
              instances.map(({ address, state }) => ({ ip: address, port: 8080, status: STATUS[state] })),
            ),
          ),
      },
      section: (proxyUrl) => ({
        servers: [`${proxyUrl}/eureka`],
        usernameSecretRef: { name: 'eureka', key: 'username' },
        passwordSecretRef: { name: 'eureka', key: 'password' },
      }),
      secret: { ...EUREKA_USER },
      secrets: [EUREKA_USER.password],
      pollIntervalMs: 200,
      // Polls of 500 services wait for each other rather than for a server that a busy machine slows down.
      concurrentQueries: 10,
      requestOf: (service) => `/apps/${service.toUpperCase()}`,
    }),
  faults: {
    ...HTTP_FAULTS,
    'the password is wrong': secretFault(() => ({ password: 'another-password' })),
    'the Secret is missing': secretFault(() => ({ password: undefined })),
  },
});
