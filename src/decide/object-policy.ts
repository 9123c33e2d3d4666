import { parseIp } from '../api/ip-address.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { BackendTarget } from './backends.ts';
import { hostPolicy } from './host-policy.ts';
import type { RegistryAddresses } from './registry-instances.ts';
import type { Snapshot } from './snapshot.ts';

type IsAllowed = (host: string) => boolean;

/**
 * Whether a node of the gateway may stay: the connection of `object`, and the registry of the backend if it has one, allow its
 * host now.
 */
export function nodePolicyOf(
  { connections, registries }: Pick<Snapshot, 'connections' | 'registries'>,
  { connection }: Pick<GatewayUpstream, 'connection'>,
): (host: string, target: BackendTarget | undefined) => boolean {
  const spec = connections.get('', connection)?.spec;
  const policy = spec?.ok === true ? hostPolicy(spec.value) : undefined;
  const byRegistry = new Map<string, IsAllowed>();
  const ofRegistry = (name: string): IsAllowed => {
    const known = byRegistry.get(name);
    if (known !== undefined) return known;
    const registry = registries?.get('', name)?.spec;
    const isAllowed = registry?.ok === true ? registryPolicy(registry.value.addresses) : () => true;
    byRegistry.set(name, isAllowed);
    return isAllowed;
  };
  return (host, target) =>
    policy?.ofNode(host) === undefined &&
    (target?.kind !== 'registry' || ofRegistry(target.ref.registry)(host));
}

function registryPolicy(addresses: RegistryAddresses | undefined): IsAllowed {
  const policy = hostPolicy(addresses === undefined ? {} : { addresses });
  return (host) =>
    parseIp(host) === undefined ? addresses?.names === 'Allow' : policy.ofAddress(host) === undefined;
}
