import type { ProtocolOptions, RegistryType } from '../registry.ts';
import { overProtocol } from '../registry-source/over-protocol.ts';
import { EtcdProtocol } from './protocol.ts';
import { type EtcdSection, etcdBackend, etcdRegistry } from './schema.ts';

/** The registry type `Etcd`, without a reader of saved answers. */
export const etcd: Omit<RegistryType<EtcdSection>, 'saved'> = {
  type: 'Etcd',
  section: 'etcd',
  registrySchema: etcdRegistry,
  backendSchema: etcdBackend,
  secretRefs: ({ usernameSecretRef, passwordSecretRef, tls }) =>
    [usernameSecretRef, passwordSecretRef, tls?.caSecretRef].filter((ref) => ref !== undefined),
  ...overProtocol((options: ProtocolOptions<EtcdSection>) => new EtcdProtocol(options)),
};
