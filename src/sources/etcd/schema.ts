import { z } from 'zod';
import { withRules } from '../../api/schema.ts';
import { registryServers, registryTls, userFields, userRule } from '../registry-source/schema.ts';

/** How clients write instances, and below which prefix they do so by default. GoZero and GRPC have no prefix. */
export const DEFAULT_PREFIXES = {
  HostPort: '/services',
  JSON: '/services',
  Kratos: '/microservices',
  GoZero: '',
  Kitex: 'kitex/registry-etcd',
  GoMicro: '/micro/registry',
  GRPC: '',
} as const;

const ETCD_FORMATS = Object.keys(DEFAULT_PREFIXES) as [EtcdFormat, ...EtcdFormat[]];

export type EtcdFormat = keyof typeof DEFAULT_PREFIXES;

/** The section `etcd` of a ServiceRegistry. */
export const etcdRegistry = withRules(
  z.object({
    servers: registryServers('http://etcd.example.com:2379'),
    ...userFields(
      'User name: an entry of a Secret in the namespace of the operator. Set it together with `passwordSecretRef`. Default: anonymous requests.',
    ),
    tls: registryTls.optional(),
    format: z
      .enum(ETCD_FORMATS)
      .describe('How the clients of this registry write an instance. Use one ServiceRegistry per format.'),
    prefix: z
      .string()
      .max(256)
      .regex(/^[!-~]*$/, 'prefix may contain visible ASCII characters')
      .optional()
      .describe(
        'Start of the keys. The instances of a service have keys that begin with the prefix, "/", the name of the service and "/". Default: the prefix that the clients of the format use.',
      ),
  }),
  [userRule],
).describe('etcd 3 over its JSON gateway.');

export type EtcdSection = z.output<typeof etcdRegistry>;

/** The section `etcd` of a backend. */
export const etcdBackend = z
  .object({
    scheme: z
      .string()
      .min(1)
      .max(16)
      .regex(/^[a-z][a-z0-9+.-]*$/, 'scheme must be a URL scheme, for example grpc')
      .default('http')
      .describe(
        'Which endpoint of a Kratos instance the gateway uses, by the scheme of its URL. Instances without such an endpoint are excluded. Other formats ignore it.',
      ),
  })
  .describe('Options for a registry of type Etcd.');

/** A parsed backend has no fields that are equal to their defaults. */
export type EtcdBackend = Partial<z.output<typeof etcdBackend>>;
