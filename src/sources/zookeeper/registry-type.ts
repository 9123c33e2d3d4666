import { z } from 'zod';
import type { ProtocolOptions, RegistryType } from '../registry.ts';
import { overProtocol, savedInstances } from '../registry-source/over-protocol.ts';
import { curatorInstance, ofCurator, ofDubboName } from './formats.ts';
import { endpointsOf } from './instances.ts';
import { ZooKeeperProtocol } from './protocol.ts';
import { serverUrl, type ZooKeeperSection, zooKeeperRegistry } from './schema.ts';

/** What a user saves: the names of Dubbo's providers, or the data of each entry. */
const savedNames = z.array(z.string().transform(ofDubboName));
const savedData = z.array(curatorInstance.transform(ofCurator));

/** The registry type `ZooKeeper`. */
export const zooKeeper: RegistryType<ZooKeeperSection> = {
  type: 'ZooKeeper',
  section: 'zookeeper',
  registrySchema: zooKeeperRegistry,
  secretRefs: ({ usernameSecretRef, passwordSecretRef }) =>
    [usernameSecretRef, passwordSecretRef].filter((ref) => ref !== undefined),
  saved: {
    serviceName: ({ service }) => service,
    expected:
      'a list with the JSON of each instance, or for the format DubboInterface a list with the names of the nodes below providers',
    read(answer, { section }) {
      const { data } = (section.format === 'DubboInterface' ? savedNames : savedData).safeParse(answer);
      return data && savedInstances(data, endpointsOf);
    },
  },
  ...overProtocol((options: ProtocolOptions<ZooKeeperSection>) => new ZooKeeperProtocol(options), serverUrl),
};
