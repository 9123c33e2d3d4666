import { z } from 'zod';
import { GROUP } from './group.ts';
import { celMatches, dnsSubdomain, durationBetween, text, textMap, withRules } from './schema.ts';

/** How the gateway treats the traffic of an upstream: everything of a spec but where the traffic goes. */

const hashVariable =
  /^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-Z_-]+)$/;
const hashField = /^[a-zA-Z0-9_-]+$/;

const loadBalancing = withRules(
  z.object({
    type: z
      .enum(['RoundRobin', 'ConsistentHash', 'EWMA', 'LeastConn'])
      .default('RoundRobin')
      .describe(
        'RoundRobin: by weight. ConsistentHash: the same value, the same node. EWMA: the node that answers fastest. LeastConn: the node with the fewest connections.',
      ),
    hashOn: z
      .enum(['Vars', 'Header', 'Cookie', 'Consumer', 'VarsCombinations'])
      .optional()
      .describe('What ConsistentHash hashes. Default: Vars.'),
    key: text(256, {
      pattern: /^[!-~]+$/,
      message: 'key is not empty and has neither spaces nor letters outside ASCII, for example remote_addr',
    })
      .optional()
      .describe('The variable, header or cookie whose value is hashed, for example `remote_addr`.'),
  }),
  [
    {
      rule: "self.type == 'ConsistentHash' || (!has(self.hashOn) && !has(self.key))",
      message: 'hashOn and key belong to type ConsistentHash only',
      holds: (value) =>
        value.type === 'ConsistentHash' || (value.hashOn === undefined && value.key === undefined),
    },
    {
      rule: "self.type != 'ConsistentHash' || has(self.key) || (has(self.hashOn) && self.hashOn == 'Consumer')",
      message: 'ConsistentHash needs a key, for example remote_addr, unless hashOn is Consumer',
      holds: (value) =>
        value.type !== 'ConsistentHash' || value.key !== undefined || value.hashOn === 'Consumer',
    },
    {
      rule: "!has(self.key) || (has(self.hashOn) && self.hashOn != 'Vars') || self.key.matches('^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-Z_-]+)$')",
      message:
        'with hashOn Vars the key is one of uri, server_name, server_addr, request_uri, remote_port, remote_addr, query_string, host, hostname, mqtt_client_id or arg_<name>',
      holds: (value) =>
        value.key === undefined || (value.hashOn ?? 'Vars') !== 'Vars' || hashVariable.test(value.key),
    },
    {
      rule: "!has(self.key) || !has(self.hashOn) || !(self.hashOn in ['Header', 'Cookie']) || self.key.matches('^[a-zA-Z0-9_-]+$')",
      message: 'with hashOn Header or Cookie the key is its name: letters, digits, - and _',
      holds: (value) =>
        value.key === undefined ||
        (value.hashOn !== 'Header' && value.hashOn !== 'Cookie') ||
        hashField.test(value.key),
    },
  ],
);

const timeout = durationBetween('1ms', '24h');

const timeouts = z
  .object({
    connect: timeout.default('60s').describe('To open the connection.'),
    send: timeout.default('60s').describe('Between two writes of the request.'),
    read: timeout.default('60s').describe('Between two reads of the answer.'),
  })
  .describe('What each attempt may take. A part that is not given is 60s.');

/** What APISIX takes as a host, in a header or of a probe. */
const hostOfHeader = /^[0-9a-zA-Z._:[\]-]+$/;

const hostHeader = withRules(
  z.object({
    type: z
      .enum(['Pass', 'Node', 'Rewrite'])
      .default('Pass')
      .describe("Pass: the client's own. Node: the host of the node. Rewrite: `value`."),
    value: text(253, {
      pattern: hostOfHeader,
      message: 'value is a host name, with or without a port, for example shop.example.com',
    })
      .optional()
      .describe('What the Host header becomes with Rewrite.'),
  }),
  [
    {
      rule: "(self.type == 'Rewrite') == has(self.value)",
      message: 'type Rewrite needs a value, for example shop.example.com, and the other types take none',
      holds: ({ type, value }) => (type === 'Rewrite') === (value !== undefined),
    },
  ],
);

const keepalive = z.object({
  size: z.int().min(1).max(100_000).default(320).describe('Idle connections that each worker keeps.'),
  idleTimeout: durationBetween('0s', '24h').default('60s').describe('How long an idle connection is kept.'),
  requests: z.int().min(1).max(1_000_000_000).default(1000).describe('Requests that one connection serves.'),
});

/** Without fractions and milliseconds: APISIX counts intervals in whole seconds. */
const wholeSecondsPattern = /^([0-9]{1,5}[smh])+$/;
const wholeSeconds = withRules(durationBetween('1s', '24h'), [
  {
    rule: celMatches('self', wholeSecondsPattern),
    message: 'must be whole seconds, for example 5s or 1m30s',
    holds: (value) => wholeSecondsPattern.test(value),
  },
]);

/** Statuses that `what` counts; each once. */
const statuses = (values: readonly number[], what: string) =>
  z
    .array(z.int().min(200).max(599))
    .min(1)
    .max(64)
    .refine((list) => new Set(list).size === list.length, 'each status once')
    .meta({ 'x-kubernetes-list-type': 'set' })
    .default([...values])
    .describe(`HTTP statuses that count as ${what}.`);

const HEALTHY = [200, 302];
const UNHEALTHY = [429, 404, 500, 501, 502, 503, 504, 505];
const SEEN_HEALTHY = [
  200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308,
];
const SEEN_UNHEALTHY = [429, 500, 503];

const probeType = z
  .enum(['HTTP', 'HTTPS', 'TCP'])
  .default('HTTP')
  .describe('How it is asked. TCP: a connection is enough.');
const inARow = (least: number, value: number, what: string) =>
  z
    .int()
    .min(least)
    .max(254)
    .default(value)
    .describe(`${what}.${least === 0 ? ' 0: never.' : ''}`);

const activeCheck = z.object({
  type: probeType,
  timeout: durationBetween('1ms', '1h').default('1s').describe('For one probe.'),
  concurrency: z.int().min(1).max(1000).default(10).describe('Nodes that are probed at once.'),
  method: z
    .enum(['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'CONNECT', 'TRACE', 'PURGE'])
    .default('GET')
    .describe('Method of the probes.'),
  path: text(1024, {
    pattern: /^[/][!-~]*$/,
    message: 'path begins with "/" and has no spaces, for example /healthz',
  })
    .default('/')
    .describe('Path that is asked for.'),
  host: text(253, {
    pattern: hostOfHeader,
    message: 'host is a host name, with or without a port, for example shop.example.com',
  })
    .optional()
    .describe("Host header of the probes. Default: the node's own."),
  port: z
    .int()
    .min(1)
    .max(65535)
    .optional()
    .describe(
      "Port that is probed. Default: the node's own. With addressing mode Node or LoadBalancer, or a Service of another namespace, the connection must allow another one (`tenantPolicy.probePorts`).",
    ),
  headers: z
    .array(
      text(1024, {
        pattern: /^[!#$%&*+.^_`|~0-9a-zA-Z-]+: ?[ -~]*$/,
        message: 'a header is written as "Name: value", for example "User-Agent: apisix"',
      }),
    )
    .min(1)
    .max(16)
    .optional()
    .describe('Headers of the probes, each as `Name: value`.'),
  body: z.string().max(4096).default('').describe('Body of the probes.'),
  verifyCertificate: z
    .boolean()
    .default(true)
    .describe('With HTTPS: whether the certificate must be trusted.'),
  healthy: z
    .object({
      interval: wholeSeconds.default('1s').describe('Between two probes of a healthy node.'),
      statuses: statuses(HEALTHY, 'a success'),
      successes: inARow(1, 2, 'Successes after which an unhealthy node is healthy'),
    })
    .default({ interval: '1s', statuses: HEALTHY, successes: 2 })
    .describe('What makes a node healthy.'),
  unhealthy: z
    .object({
      interval: wholeSeconds.default('1s').describe('Between two probes of an unhealthy node.'),
      statuses: statuses(UNHEALTHY, 'a failure'),
      httpFailures: inARow(1, 5, 'Failures after which a healthy node is unhealthy'),
      tcpFailures: inARow(1, 2, 'Failed connections after which a healthy node is unhealthy'),
      timeouts: inARow(1, 3, 'Timeouts after which a healthy node is unhealthy'),
    })
    .default({ interval: '1s', statuses: UNHEALTHY, httpFailures: 5, tcpFailures: 2, timeouts: 3 })
    .describe('What makes a node unhealthy.'),
});

const passiveCheck = z.object({
  type: probeType,
  healthy: z
    .object({
      statuses: statuses(SEEN_HEALTHY, 'a success'),
      successes: inARow(0, 5, 'Successes after which an unhealthy node is healthy'),
    })
    .default({ statuses: SEEN_HEALTHY, successes: 5 })
    .describe('What makes a node healthy.'),
  unhealthy: z
    .object({
      statuses: statuses(SEEN_UNHEALTHY, 'a failure'),
      httpFailures: inARow(0, 5, 'Failures after which a healthy node is unhealthy'),
      tcpFailures: inARow(0, 2, 'Failed connections after which a healthy node is unhealthy'),
      timeouts: inARow(0, 7, 'Timeouts after which a healthy node is unhealthy'),
    })
    .default({ statuses: SEEN_UNHEALTHY, httpFailures: 5, tcpFailures: 2, timeouts: 7 })
    .describe('What makes a node unhealthy.'),
});

const healthCheck = z.object({
  active: activeCheck.describe('The gateway probes every node.'),
  passive: passiveCheck
    .optional()
    .describe('The gateway also watches the traffic. It needs active, which alone brings a node back.'),
});

const tls = z.object({
  clientCertificateSecretRef: z
    .object({
      name: text(253, {
        pattern: dnsSubdomain,
        message:
          'name is the name of a Secret in the namespace of this object: lower case letters, digits, "-" and "."',
      }).describe('Name of the Secret.'),
    })
    .optional()
    .describe(
      'Secret of type kubernetes.io/tls with the certificate that the gateway shows to the nodes. Watched: renewal needs no restart.',
    ),
  verify: z.boolean().default(false).describe("Whether the nodes' certificates must be trusted."),
});

const LABEL_DOMAIN = `${GROUP}/`;
const labelKey = /^[!-~]{1,128}$/;
const labelValue = /^[!-~]{1,256}$/;

const labels = withRules(textMap('labels', 32, 256), [
  {
    rule: `self.all(key, ${celMatches('key', labelKey)} && ${celMatches('self[key]', labelValue)} && !key.startsWith('${LABEL_DOMAIN}'))`,
    message: `labels have keys of 1 to 128 and values of 1 to 256 characters without spaces, and no key begins with ${LABEL_DOMAIN}, for example team: payments`,
    holds: (value) =>
      Object.entries(value).every(
        ([key, content]) => labelKey.test(key) && labelValue.test(content) && !key.startsWith(LABEL_DOMAIN),
      ),
  },
]);

/** Fields of the spec of a GatewayUpstream. */
export const trafficFields = {
  loadBalancing: loadBalancing.optional().describe('How the gateway chooses a node. Default: RoundRobin.'),
  scheme: z
    .enum(['HTTP', 'HTTPS', 'GRPC', 'GRPCS', 'TCP', 'TLS', 'UDP'])
    .optional()
    .describe('What the nodes speak. Default: HTTP.'),
  hostHeader: hostHeader.optional().describe('The Host header that the nodes get. Default: Pass.'),
  timeouts: timeouts.optional(),
  retries: z
    .int()
    .min(0)
    .max(1000)
    .optional()
    .describe(
      "How many other nodes are tried after a failure. Default: the gateway's, one less than there are nodes.",
    ),
  retryTimeout: durationBetween('0s', '24h')
    .optional()
    .describe('After this long no other node is tried. 0s: no limit, which is the default.'),
  keepalive: keepalive
    .optional()
    .describe("Connections to the nodes that are kept open. Default: the gateway's pool for all upstreams."),
  healthCheck: healthCheck
    .optional()
    .describe('Whether the gateway finds out by itself which nodes are well. Default: it does not.'),
  tls: tls.optional().describe('With scheme HTTPS, GRPCS or TLS: how TLS is spoken with the nodes.'),
  labels: labels.optional().describe("Labels of the gateway's object, besides the operator's own."),
  description: z.string().max(256).optional().describe("Description of the gateway's object."),
};
