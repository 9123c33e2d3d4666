import type { RegistryUnderTest } from '../support/registries/registry-under-test.ts';
import { ZooKeeperFaultProxy } from '../support/registries/zookeeper-fault-proxy.ts';
import {
  curatorData,
  ZOOKEEPER_READER,
  ZOOKEEPER_STRANGER,
  ZooKeeperServer,
} from '../support/registries/zookeeper-server.ts';
import { testRegistryFaults } from './registry-faults.ts';

const PATH = '/services';

async function startZooKeeper(): Promise<RegistryUnderTest> {
  const server = await ZooKeeperServer.start();
  return {
    url: server.url,
    startProxy: (target) => ZooKeeperFaultProxy.start(target),
    messages: {
      'answers 500': /error -1 of ZooKeeper/,
      'answers with a web page': /not valid for ZooKeeper/,
      'announces more than the limit': /not valid for ZooKeeper/,
      'sends more than the limit': /64 KiB/,
    },
    type: 'ZooKeeper',
    register: (service, instances) =>
      server.writer.replace(
        `${PATH}/${service}`,
        new Map(
          instances.map(({ address, ready = true }) => [
            address,
            curatorData(service, { address, status: ready ? 'UP' : 'DOWN' }),
          ]),
        ),
      ),
    touch: (service, address) =>
      server.writer.set(
        `${PATH}/${service}/${address}`,
        curatorData(service, { address, metadata: { touched: `${performance.now()}` } }),
      ),
    kill: () => server.kill(),
    start: () => server.start(),
    spec: (servers, secret) => ({
      type: 'ZooKeeper',
      zookeeper: { servers, usernameSecretRef: { name: secret }, passwordSecretRef: { name: secret } },
    }),
    credentials: async () => ({ ...ZOOKEEPER_READER }),
    withoutRights: async () => ({ ...ZOOKEEPER_STRANGER }),
    unknown: { username: 'unknown', password: 'unknown' },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

testRegistryFaults({ name: 'ZooKeeper', start: startZooKeeper });
