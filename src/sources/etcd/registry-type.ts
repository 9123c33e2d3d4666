import { z } from 'zod';
import type { ProtocolOptions, RegistryType } from '../registry.ts';
import { overProtocol, savedInstances } from '../registry-source/over-protocol.ts';
import { instancesIn, keyPrefix, keyValue } from './formats.ts';
import { endpointsOf } from './instances.ts';
import { EtcdProtocol } from './protocol.ts';
import { type EtcdSection, etcdBackend, etcdRegistry } from './schema.ts';

/** A response without keys has no `kvs`. A part of the keys, or only their count, must not look like all of them. */
const savedAnswer = z
  .object({
    header: z.object({}),
    kvs: z.array(keyValue).default([]),
    more: z.literal(false).optional(),
    // etcdctl prints a number, the HTTP API a string.
    count: z.coerce.number().optional(),
  })
  .refine(({ kvs, count = kvs.length }) => count === kvs.length);

/** The registry type `Etcd`. */
export const etcd: RegistryType<EtcdSection> = {
  type: 'Etcd',
  section: 'etcd',
  registrySchema: etcdRegistry,
  backendSchema: etcdBackend,
  secretRefs: ({ usernameSecretRef, passwordSecretRef, tls }) =>
    [usernameSecretRef, passwordSecretRef, tls?.caSecretRef].filter((ref) => ref !== undefined),
  saved: {
    serviceName: ({ service }) => service,
    expected: 'the output of etcdctl get --prefix KEY -w json, or the answer to POST /v3/kv/range',
    read(answer, { service, section }) {
      const { data } = savedAnswer.safeParse(answer);
      const prefix = Buffer.from(keyPrefix(section, service));
      const entries = data?.kvs.filter(({ key }) => key.subarray(0, prefix.length).equals(prefix));
      const instances = entries?.flatMap((entry) => instancesIn(section.format, service, prefix, entry));
      return instances && savedInstances(instances, endpointsOf);
    },
  },
  ...overProtocol((options: ProtocolOptions<EtcdSection>) => new EtcdProtocol(options)),
};
