import type { RegistryType } from '../registry.ts';
import { probeServers } from '../registry-source/probe-servers.ts';
import { RegistrySource } from '../registry-source/registry-source.ts';
import { NacosProtocol } from './protocol.ts';
import { type NacosSection, nacosBackend, nacosRegistry } from './schema.ts';

/** The registry type `Nacos`. */
export const nacos: RegistryType<NacosSection> = {
  type: 'Nacos',
  section: 'nacos',
  registrySchema: nacosRegistry,
  backendSchema: nacosBackend,
  secretRefs: ({ usernameSecretRef, passwordSecretRef, tls }) =>
    [usernameSecretRef, passwordSecretRef, tls?.caSecretRef].filter((ref) => ref !== undefined),
  create: (options) =>
    new RegistrySource({
      protocol: new NacosProtocol(options),
      servers: serversOf(options.section),
      registry: options,
    }),
  probe: (options, signal) =>
    probeServers(new NacosProtocol(options), serversOf(options.section), options.limits, signal),
};

function serversOf({ servers }: NacosSection): readonly URL[] {
  return servers.map((server) => new URL(server));
}
