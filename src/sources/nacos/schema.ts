import { z } from 'zod';
import { withRules } from '../../api/schema.ts';
import { registryServers, registryTls, userFields, userRule } from '../registry-source/schema.ts';

const name = (what: string) =>
  z
    .string()
    .min(1)
    .max(128)
    .regex(/^[a-zA-Z0-9_.:-]+$/, `${what} may contain letters, digits, "_", ".", ":" and "-"`);

/** The section `nacos` of a ServiceRegistry. */
export const nacosRegistry = withRules(
  z.object({
    servers: registryServers('http://nacos.example.com:8848'),
    ...userFields(
      'User name: an entry of a Secret in the namespace of the operator. Set it together with `passwordSecretRef`. Default: anonymous requests.',
    ),
    tls: registryTls.optional(),
    namespaceId: name('namespaceId')
      .default('public')
      .describe('Id of the Nacos namespace, not its display name.'),
    groups: z
      .array(name('a group'))
      .min(1)
      .max(32)
      .refine((groups) => new Set(groups).size === groups.length, 'must not list a group twice')
      .optional()
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe('Groups whose services backends may use. Default: all groups.'),
  }),
  [userRule],
).describe('Nacos over its HTTP API: version 3, or version 1 on servers without version 3.');

export type NacosSection = z.output<typeof nacosRegistry>;

export const DEFAULT_GROUP = 'DEFAULT_GROUP';

/** The section `nacos` of a backend. */
export const nacosBackend = z
  .object({
    group: name('group').default(DEFAULT_GROUP).describe('Group of the service.'),
    clusters: z
      .array(name('a cluster'))
      .min(1)
      .max(16)
      .optional()
      .describe('Selects the instances of these clusters. Default: all clusters.'),
  })
  .describe('Options for a registry of type Nacos.');

/** A parsed backend has no fields that are equal to their defaults. */
export type NacosBackend = Partial<z.output<typeof nacosBackend>>;
