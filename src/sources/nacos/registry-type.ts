import { z } from 'zod';
import type { ProtocolOptions, RegistryType } from '../registry.ts';
import { overProtocol, savedInstances } from '../registry-source/over-protocol.ts';
import { endpointsOf, instanceOf, nacosHost } from './instances.ts';
import { NacosProtocol } from './protocol.ts';
import {
  DEFAULT_GROUP,
  type NacosBackend,
  type NacosSection,
  nacosBackend,
  nacosRegistry,
} from './schema.ts';

const hosts = z.array(nacosHost);

/** The answer of any version of the API, or only its hosts. */
const savedAnswer = z.union([
  z.object({ code: z.literal(0), data: hosts }).transform(({ data }) => data),
  z.object({ code: z.literal(0), data: z.object({ hosts }) }).transform(({ data }) => data.hosts),
  z.object({ hosts }).transform((answer) => answer.hosts),
  z.object({ list: hosts }).transform(({ list }) => list),
  hosts,
]);

/** The registry type `Nacos`. */
export const nacos: RegistryType<NacosSection> = {
  type: 'Nacos',
  section: 'nacos',
  registrySchema: nacosRegistry,
  backendSchema: nacosBackend,
  secretRefs: ({ usernameSecretRef, passwordSecretRef, tls }) =>
    [usernameSecretRef, passwordSecretRef, tls?.caSecretRef].filter((ref) => ref !== undefined),
  saved: {
    // Nacos itself names a service of another group so.
    serviceName({ service, options }) {
      const group = (options as NacosBackend | undefined)?.group ?? DEFAULT_GROUP;
      return group === DEFAULT_GROUP ? service : `${group}@@${service}`;
    },
    expected: 'the answer to GET /nacos/v3/client/ns/instance/list',
    read(answer) {
      const { data } = savedAnswer.safeParse(answer);
      return data && savedInstances(data.map(instanceOf), endpointsOf);
    },
  },
  ...overProtocol((options: ProtocolOptions<NacosSection>) => new NacosProtocol(options)),
};
