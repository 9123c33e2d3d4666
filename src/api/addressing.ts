import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { text, withRules } from './schema.ts';

/** Empty, or DNS labels with dots between them. */
const dnsSuffix = /^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$/;

/** What completes `<service>.<namespace>` unless something else is said. */
export const CLUSTER_DNS_SUFFIX = 'svc.cluster.local';

/** By what address a gateway reaches a Service. */
export const addressing = withRules(
  z.object({
    mode: z
      .enum(['Pod', 'Node', 'LoadBalancer', 'ClusterIP', 'DNS'])
      .describe(
        'Pod: the endpoints themselves. Node: nodes and the NodePort; the operator must watch nodes (`watchNodes` in its configuration). LoadBalancer: what the status of the Service says. ClusterIP: the address of the Service. DNS: the name of the Service.',
      ),
    nodeAddressType: z
      .enum(['InternalIP', 'ExternalIP', 'Hostname', 'InternalDNS', 'ExternalDNS'])
      .optional()
      .describe('With mode Node: which address of a node. Default: InternalIP.'),
    nodeSelector: labelSelector('node', { labels: 8, expressions: 4, values: 16 })
      .optional()
      .describe('With mode Node: which nodes. Default: all.'),
    dnsSuffix: text(120, {
      pattern: dnsSuffix,
      message:
        'dnsSuffix is what follows <service>.<namespace>. in the name, for example svc.cluster.local, or empty',
    })
      .optional()
      .describe(
        `With mode DNS: what follows \`<service>.<namespace>.\`; empty: nothing. Default: ${CLUSTER_DNS_SUFFIX}.`,
      ),
  }),
  [
    {
      rule: "self.mode == 'Node' || (!has(self.nodeAddressType) && !has(self.nodeSelector))",
      message: 'nodeAddressType and nodeSelector belong to mode Node only',
      holds: ({ mode, nodeAddressType, nodeSelector }) =>
        mode === 'Node' || (nodeAddressType === undefined && nodeSelector === undefined),
    },
    {
      rule: "self.mode == 'DNS' || !has(self.dnsSuffix)",
      message: 'dnsSuffix belongs to mode DNS only',
      holds: (value) => value.mode === 'DNS' || value.dnsSuffix === undefined,
    },
  ],
);

export type Addressing = z.output<typeof addressing>;
