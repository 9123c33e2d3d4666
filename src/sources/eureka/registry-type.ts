import type { ProtocolOptions, RegistryType } from '../registry.ts';
import { overProtocol, savedInstances } from '../registry-source/over-protocol.ts';
import { applicationAnswer, endpointsOf, instanceOf } from './instances.ts';
import { EurekaProtocol } from './protocol.ts';
import { type EurekaSection, eurekaBackend, eurekaRegistry } from './schema.ts';

/** The registry type `Eureka`. */
export const eureka: RegistryType<EurekaSection> = {
  type: 'Eureka',
  section: 'eureka',
  registrySchema: eurekaRegistry,
  backendSchema: eurekaBackend,
  secretRefs: ({ usernameSecretRef, passwordSecretRef, tls }) =>
    [usernameSecretRef, passwordSecretRef, tls?.caSecretRef].filter((ref) => ref !== undefined),
  saved: {
    serviceName: ({ service }) => service,
    expected: 'the answer to GET /eureka/apps/NAME',
    read(answer) {
      const { data } = applicationAnswer.safeParse(answer);
      return data && savedInstances(data.map(instanceOf), endpointsOf);
    },
  },
  ...overProtocol((options: ProtocolOptions<EurekaSection>) => new EurekaProtocol(options)),
};
