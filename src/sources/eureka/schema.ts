import { z } from 'zod';
import { withRules } from '../../api/schema.ts';
import { registryServers, registryTls, userFields, userRule } from '../registry-source/schema.ts';

/** The section `eureka` of a ServiceRegistry. */
export const eurekaRegistry = withRules(
  z.object({
    servers: registryServers('http://eureka.example.com:8761/eureka'),
    ...userFields(
      'User name for basic authentication: an entry of a Secret in the namespace of the operator. Set it together with `passwordSecretRef`. Default: anonymous requests.',
    ),
    tls: registryTls.optional(),
  }),
  [userRule],
).describe(
  'Netflix Eureka over its HTTP API. The URL of a server includes its context path, usually `/eureka`.',
);

export type EurekaSection = z.output<typeof eurekaRegistry>;

/** The section `eureka` of a backend. */
export const eurekaBackend = z
  .object({
    port: z
      .enum(['Auto', 'Secure', 'Plain'])
      .default('Auto')
      .describe(
        'Which port of an instance the gateway uses. Auto: the plain port if it is enabled, otherwise the secure port. Instances that have not enabled the port are excluded.',
      ),
    address: z
      .enum(['IP', 'HostName'])
      .default('IP')
      .describe(
        'Which address of an instance the gateway uses. HostName requires `addresses.names: Allow` in the ServiceRegistry, unless the host name is an IP address.',
      ),
  })
  .describe('Options for a registry of type Eureka.');

/** A parsed backend has no fields that are equal to their defaults. */
export type EurekaBackend = Partial<z.output<typeof eurekaBackend>>;
