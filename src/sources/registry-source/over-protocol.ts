import type { Endpoint } from '../../model/endpoint.ts';
import type { ProtocolOptions, RegistryType, SavedAnswer } from '../registry.ts';
import { probeServers } from './probe-servers.ts';
import type { RegistryProtocol } from './protocol.ts';
import { RegistrySource } from './registry-source.ts';

/** The part of a registry type that follows from its protocol. `urlOf`: the URL of an entry of `servers`. */
export function overProtocol<Section extends { readonly servers: readonly string[] }, Instance, Cursor>(
  protocolOf: (options: ProtocolOptions<Section>) => RegistryProtocol<Instance, Cursor>,
  urlOf: (server: string) => URL = (server) => new URL(server),
): Pick<RegistryType<Section>, 'create' | 'probe'> {
  const serversOf = ({ servers }: Section) => servers.map(urlOf);
  return {
    create: (options) =>
      new RegistrySource({
        protocol: protocolOf(options),
        servers: serversOf(options.section),
        registry: options,
      }),
    probe: (options, signal) =>
      probeServers(protocolOf(options), serversOf(options.section), options.limits, signal),
  };
}

/** `endpointsOf`: the endpoints that a backend with these options wants. */
export function savedInstances<Instance, Options>(
  instances: readonly Instance[],
  endpointsOf: (instances: readonly Instance[], options: Options | undefined) => readonly Endpoint[],
): SavedAnswer {
  return {
    count: instances.length,
    endpoints: (options) => endpointsOf(instances, options as Options | undefined),
  };
}
