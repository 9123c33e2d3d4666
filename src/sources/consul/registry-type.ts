import { z } from 'zod';
import type { ProtocolOptions, RegistryType } from '../registry.ts';
import { overProtocol, savedInstances } from '../registry-source/over-protocol.ts';
import { endpointsOf, healthEntry, instanceOf } from './instances.ts';
import { ConsulProtocol } from './protocol.ts';
import { type ConsulSection, consulBackend, consulRegistry } from './schema.ts';

/** The registry type `Consul`. */
export const consul: RegistryType<ConsulSection> = {
  type: 'Consul',
  section: 'consul',
  registrySchema: consulRegistry,
  backendSchema: consulBackend,
  secretRefs: ({ tokenSecretRef, tls }) => [
    ...(tokenSecretRef === undefined ? [] : [tokenSecretRef]),
    ...(tls?.caSecretRef === undefined ? [] : [tls.caSecretRef]),
  ],
  saved: {
    serviceName: ({ service }) => service,
    expected: 'the answer to GET /v1/health/service/NAME',
    read(answer) {
      const { data } = z.array(healthEntry).safeParse(answer);
      return data && savedInstances(data.map(instanceOf), endpointsOf);
    },
  },
  ...overProtocol((options: ProtocolOptions<ConsulSection>) => new ConsulProtocol(options)),
};
