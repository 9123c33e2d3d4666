import { afterAll, beforeAll } from 'vitest';
import type { ServiceQuery } from '../../src/sources/registry.ts';
import { zooKeeper } from '../../src/sources/zookeeper/registry-type.ts';
import { testDiscoverySource } from '../contract/discovery-source.ts';
import {
  createRegistryHarness,
  HTTP_FAULTS,
  type RegistryHarness,
  secretFault,
} from '../support/registries/source-harness.ts';
import { ZooKeeperFaultProxy } from '../support/registries/zookeeper-fault-proxy.ts';
import {
  curatorData,
  ZOOKEEPER_READER,
  ZOOKEEPER_STRANGER,
  ZooKeeperServer,
} from '../support/registries/zookeeper-server.ts';

let server: ZooKeeperServer;

beforeAll(async () => {
  server = await ZooKeeperServer.start();
}, 900_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

const STATUS = { ready: 'UP', notReady: 'DOWN', leaving: 'OUT_OF_SERVICE' } as const;
const PATH = '/suite/services';

testDiscoverySource<ServiceQuery, RegistryHarness>({
  name: 'ZooKeeper',
  histories: 10,
  create: () =>
    createRegistryHarness({
      type: zooKeeper,
      server: {
        url: server.url,
        register: (service, instances) =>
          server.writer.replace(
            `${PATH}/${service}`,
            new Map(
              instances.map(({ address, state }, index) => [
                `${index}`,
                curatorData(service, { address, status: STATUS[state] }),
              ]),
            ),
          ),
      },
      section: (proxyUrl) => ({
        servers: [proxyUrl],
        usernameSecretRef: { name: 'zookeeper', key: 'username' },
        passwordSecretRef: { name: 'zookeeper', key: 'password' },
        format: 'Curator' as const,
        path: PATH,
      }),
      secret: { ...ZOOKEEPER_READER },
      secrets: [ZOOKEEPER_READER.password, ZOOKEEPER_STRANGER.password],
      pollIntervalMs: 200,
      startProxy: (target) => ZooKeeperFaultProxy.start(target),
    }),
  faults: {
    ...HTTP_FAULTS,
    'the user has no rights': secretFault(() => ({ ...ZOOKEEPER_STRANGER })),
    'the Secret is missing': secretFault(() => ({ password: undefined })),
  },
});
