import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { text, withRules } from './schema.ts';

/** Empty, or DNS labels separated by dots. */
const dnsSuffix = /^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$/;

/** The default of `dnsSuffix`. */
export const CLUSTER_DNS_SUFFIX = 'svc.cluster.local';

/** Which addresses of a Service a gateway uses. */
export const addressing = withRules(
  z.object({
    mode: z
      .enum(['Pod', 'Node', 'LoadBalancer', 'ClusterIP', 'DNS'])
      .describe(
        'Which addresses of the Service become nodes of the upstream. Pod: its endpoints. Node: addresses of cluster nodes with the NodePort of the Service; requires `watchNodes` in the configuration of the operator. LoadBalancer: the load balancer addresses in the status of the Service. ClusterIP: the cluster IP of the Service. DNS: the name `<service>.<namespace>.<dnsSuffix>`.',
      ),
    nodeAddressType: z
      .enum(['InternalIP', 'ExternalIP', 'Hostname', 'InternalDNS', 'ExternalDNS'])
      .optional()
      .describe('With mode Node: type of the node address to use. Default: InternalIP.'),
    nodeSelector: labelSelector('node', { labels: 8, expressions: 4, values: 16 })
      .optional()
      .describe('With mode Node: label selector for the cluster nodes to use. Default: all nodes.'),
    dnsSuffix: text(120, {
      pattern: dnsSuffix,
      message:
        'dnsSuffix must be the part of the DNS name after <service>.<namespace>., for example svc.cluster.local, or empty',
    })
      .optional()
      .describe(
        `With mode DNS: the part of the DNS name after \`<service>.<namespace>.\`. If empty, the name is \`<service>.<namespace>\`. Default: ${CLUSTER_DNS_SUFFIX}.`,
      ),
  }),
  [
    {
      rule: "self.mode == 'Node' || (!has(self.nodeAddressType) && !has(self.nodeSelector))",
      message: 'nodeAddressType and nodeSelector are allowed only with mode Node',
      holds: ({ mode, nodeAddressType, nodeSelector }) =>
        mode === 'Node' || (nodeAddressType === undefined && nodeSelector === undefined),
    },
    {
      rule: "self.mode == 'DNS' || !has(self.dnsSuffix)",
      message: 'dnsSuffix is allowed only with mode DNS',
      holds: (value) => value.mode === 'DNS' || value.dnsSuffix === undefined,
    },
  ],
);

export type Addressing = z.output<typeof addressing>;
