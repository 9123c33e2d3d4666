import { afterAll, beforeAll } from 'vitest';
import { etcd } from '../../src/sources/etcd/registry-type.ts';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { testDiscoverySource } from '../contract/discovery-source.ts';
import { ETCD_READER, ETCD_STRANGER, EtcdServer } from '../support/registries/etcd-server.ts';
import {
  createRegistryHarness,
  HTTP_FAULTS,
  type RegistryHarness,
  secretFault,
} from '../support/registries/source-harness.ts';

let server: EtcdServer;

beforeAll(async () => {
  server = await EtcdServer.start();
}, 900_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

const PREFIX = '/suite';

testDiscoverySource<ServiceQuery, RegistryHarness>({
  name: 'etcd',
  histories: 10,
  create: () =>
    createRegistryHarness({
      type: etcd,
      server: {
        url: server.url,
        register: (service, instances) =>
          server.replace(
            `${PREFIX}/${service}/`,
            new Map(
              instances.map(({ address, state }, index) => [
                `${PREFIX}/${service}/${index}`,
                JSON.stringify({
                  address,
                  port: 8080,
                  ready: state !== 'notReady',
                  disabled: state === 'leaving',
                }),
              ]),
            ),
          ),
      },
      section: (proxyUrl) => ({
        servers: [proxyUrl],
        usernameSecretRef: { name: 'etcd', key: 'username' },
        passwordSecretRef: { name: 'etcd', key: 'password' },
        format: 'JSON' as const,
        prefix: PREFIX,
      }),
      secret: { ...ETCD_READER },
      secrets: [ETCD_READER.password, ETCD_STRANGER.password],
      pollIntervalMs: 200,
      // Polls of 500 services wait for each other rather than for a server that a busy machine slows down.
      concurrentQueries: 10,
    }),
  faults: {
    ...HTTP_FAULTS,
    'the password is wrong': secretFault(() => ({ password: 'another-password' })),
    'the user has no rights': secretFault(() => ({ ...ETCD_STRANGER })),
    'the Secret is missing': secretFault(() => ({ password: undefined })),
  },
});
