import { z } from 'zod';
import { registryServers, registryTls, secretEntry } from '../registry-source/schema.ts';

const name = (what: string) =>
  z
    .string()
    .min(1)
    .max(128)
    .regex(/^[a-zA-Z0-9_.-]+$/, `${what} may contain letters, digits, "_", "." and "-"`);

/** The section `consul` of a ServiceRegistry. */
export const consulRegistry = z
  .object({
    servers: registryServers('http://consul.example.com:8500'),
    tokenSecretRef: secretEntry('token')
      .optional()
      .describe(
        'ACL token: an entry of a Secret in the namespace of the operator. The token needs `service:read` and `node:read` for every followed service. Default: anonymous requests.',
      ),
    tls: registryTls.optional(),
    datacenter: name('datacenter')
      .optional()
      .describe('Consul datacenter. Default: the datacenter of the server.'),
    namespace: name('namespace').optional().describe('Consul Enterprise namespace.'),
    partition: name('partition').optional().describe('Consul Enterprise admin partition.'),
  })
  .describe('HashiCorp Consul over its HTTP API.');

export type ConsulSection = z.output<typeof consulRegistry>;

/** The section `consul` of a backend. */
export const consulBackend = z
  .object({
    tags: z
      .array(z.string().min(1).max(256))
      .min(1)
      .max(16)
      .optional()
      .describe('Selects the instances that have all of these tags.'),
    healthy: z
      .enum(['Passing', 'PassingOrWarning'])
      .default('Passing')
      .describe('Which aggregated check status counts as ready.'),
    address: z
      .enum(['Service', 'Lan', 'Wan'])
      .default('Service')
      .describe(
        'Which address of an instance the gateway uses: the service address, or the tagged address `lan` or `wan`. The address of the Consul node is used where an instance has none.',
      ),
  })
  .describe('Options for a registry of type Consul.');

/** A parsed backend has no fields that are equal to their defaults. */
export type ConsulBackend = Partial<z.output<typeof consulBackend>>;
