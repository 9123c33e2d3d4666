import { z } from 'zod';
import type { RegistryType } from '../registry.ts';
import { probeServers } from '../registry-source/probe-servers.ts';
import { RegistrySource } from '../registry-source/registry-source.ts';
import { endpointsOf, healthEntry, instanceOf } from './instances.ts';
import { ConsulProtocol } from './protocol.ts';
import { type ConsulBackend, type ConsulSection, consulBackend, consulRegistry } from './schema.ts';

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
      const instances = data?.map(instanceOf);
      return (
        instances && {
          count: instances.length,
          endpoints: (options) => endpointsOf(instances, options as ConsulBackend | undefined),
        }
      );
    },
  },
  create: (options) =>
    new RegistrySource({
      protocol: new ConsulProtocol(options),
      servers: serversOf(options.section),
      registry: options,
    }),
  probe: (options, signal) =>
    probeServers(new ConsulProtocol(options), serversOf(options.section), options.limits, signal),
};

function serversOf({ servers }: ConsulSection): readonly URL[] {
  return servers.map((server) => new URL(server));
}
