import { z } from 'zod';
import { withRules } from '../../api/schema.ts';
import { userFields, userRule } from '../registry-source/schema.ts';

const server = /^([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$/;

export const DEFAULT_PATHS = {
  Curator: '/services',
  DubboApplication: '/services',
  DubboInterface: '/dubbo',
} as const;

export type ZooKeeperFormat = keyof typeof DEFAULT_PATHS;

/** `new URL` accepts it with any scheme that it does not know. */
export function serverUrl(server: string): URL {
  return new URL(`zookeeper://${server}`);
}

/** The section `zookeeper` of a ServiceRegistry. */
export const zooKeeperRegistry = withRules(
  z.object({
    servers: z
      .array(
        z
          .string()
          .max(512)
          .regex(server, 'must look like zookeeper.example.com:2181, without scheme, path or credentials')
          // The pattern allows ports and addresses that do not exist.
          .refine(
            (value) => URL.canParse(`zookeeper://${value}`),
            'must be a host and a port, for example zookeeper.example.com:2181',
          ),
      )
      .min(1)
      .max(16)
      .refine((servers) => new Set(servers).size === servers.length, 'must not list a server twice')
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe(
        'Hosts and ports of the members of one ensemble, for example `zookeeper.example.com:2181`. Default port: 2181. The operator uses one of them and moves on to the next when it fails.',
      ),
    ...userFields(
      'User name for digest authentication: an entry of a Secret in the namespace of the operator. Set it together with `passwordSecretRef`. The user needs READ on `path` and all nodes below. Default: no authentication.',
    ),
    tls: z
      .object({})
      .meta({ 'x-kubernetes-preserve-unknown-fields': true })
      .optional()
      .describe('Not supported: the operator connects to ZooKeeper without TLS.'),
    path: z
      .string()
      .max(512)
      .regex(
        /^(\/[a-zA-Z0-9_][a-zA-Z0-9_.-]*)+$/,
        'path must look like /services, without a slash at its end',
      )
      .optional()
      .describe(
        'Node below which the services are, including the chroot of their clients, for example `/production/services`. Default: `/services`, or `/dubbo` for the format DubboInterface.',
      ),
    format: z
      .enum(['Curator', 'DubboApplication', 'DubboInterface'])
      .default('Curator')
      .describe(
        'How clients store instances. Curator: Curator service discovery, and Spring Cloud. DubboApplication: Dubbo 3, by name of the application. DubboInterface: Dubbo, by name of the interface.',
      ),
  }),
  [
    userRule,
    {
      rule: '!has(self.tls)',
      message:
        'tls is not supported for ZooKeeper: remove it, and protect the connection by other means, for example a mesh or a NetworkPolicy',
      holds: ({ tls }) => tls === undefined,
    },
  ],
).describe('Apache ZooKeeper over its own protocol, without TLS.');

export type ZooKeeperSection = z.output<typeof zooKeeperRegistry>;
