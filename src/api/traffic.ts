import { z } from 'zod';
import { GROUP } from './group.ts';
import { celMatches, dnsSubdomain, durationBetween, text, textMap, withRules } from './schema.ts';

/** The fields of a spec that describe how the gateway handles traffic. */

const hashVariable =
  /^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-Z_-]+)$/;
const hashField = /^[a-zA-Z0-9_-]+$/;

const loadBalancing = withRules(
  z.object({
    type: z
      .enum(['RoundRobin', 'ConsistentHash', 'EWMA', 'LeastConn'])
      .default('RoundRobin')
      .describe(
        'Algorithm. RoundRobin: by weight. ConsistentHash: requests with the same value of `key` go to the same node. EWMA: the node with the lowest latency. LeastConn: the node with the fewest active connections.',
      ),
    hashOn: z
      .enum(['Vars', 'Header', 'Cookie', 'Consumer', 'VarsCombinations'])
      .optional()
      .describe(
        'With ConsistentHash: what to hash. Vars: a variable. Header: a request header. Cookie: a cookie. Consumer: the name of the consumer. VarsCombinations: a combination of variables. Default: Vars.',
      ),
    key: text(256, {
      pattern: /^[!-~]+$/,
      message: 'key must be printable ASCII characters without spaces, for example remote_addr',
    })
      .optional()
      .describe(
        'With ConsistentHash: the name of the variable, header or cookie to hash, for example `remote_addr`, `x-user-id`, or `$request_uri$remote_addr` with VarsCombinations. Required unless `hashOn` is Consumer.',
      ),
  }),
  [
    {
      rule: "self.type == 'ConsistentHash' || (!has(self.hashOn) && !has(self.key))",
      message: 'hashOn and key are allowed only with type ConsistentHash',
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
        'with hashOn Vars, key must be one of uri, server_name, server_addr, request_uri, remote_port, remote_addr, query_string, host, hostname, mqtt_client_id or arg_<name>',
      holds: (value) =>
        value.key === undefined || (value.hashOn ?? 'Vars') !== 'Vars' || hashVariable.test(value.key),
    },
    {
      rule: "!has(self.key) || !has(self.hashOn) || !(self.hashOn in ['Header', 'Cookie']) || self.key.matches('^[a-zA-Z0-9_-]+$')",
      message:
        'with hashOn Header or Cookie, key must be the name of the header or cookie: letters, digits, - and _',
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
    connect: timeout.default('60s').describe('Timeout for opening a connection to a node.'),
    send: timeout.default('60s').describe('Timeout between two successive write operations of the request.'),
    read: timeout.default('60s').describe('Timeout between two successive read operations of the response.'),
  })
  .describe(
    'Timeouts for each attempt to reach a node, for example `500ms` or `1m30s`. Default for each: 60s.',
  );

/** Hosts that APISIX accepts in a header or for a probe. */
const hostOfHeader = /^[0-9a-zA-Z._:[\]-]+$/;

const hostHeader = withRules(
  z.object({
    type: z
      .enum(['Pass', 'Node', 'Rewrite'])
      .default('Pass')
      .describe(
        'Which Host header the nodes receive. Pass: the one of the client. Node: the host of the node. Rewrite: `value`.',
      ),
    value: text(253, {
      pattern: hostOfHeader,
      message: 'value must be a host name, with or without a port, for example shop.example.com',
    })
      .optional()
      .describe(
        'The Host header to send, for example `shop.example.com`. Required with Rewrite and not allowed otherwise.',
      ),
  }),
  [
    {
      rule: "(self.type == 'Rewrite') == has(self.value)",
      message:
        'type Rewrite needs a value, for example shop.example.com; the other types must not have a value',
      holds: ({ type, value }) => (type === 'Rewrite') === (value !== undefined),
    },
  ],
);

const keepalive = z.object({
  size: z
    .int()
    .min(1)
    .max(100_000)
    .default(320)
    .describe('Maximum number of idle connections that each worker of the gateway keeps open.'),
  idleTimeout: durationBetween('0s', '24h')
    .default('60s')
    .describe('How long an idle connection is kept open.'),
  requests: z
    .int()
    .min(1)
    .max(1_000_000_000)
    .default(1000)
    .describe('Maximum number of requests per connection.'),
});

/** APISIX counts intervals in whole seconds. */
const wholeSecondsPattern = /^([0-9]{1,5}[smh])+$/;
const wholeSeconds = withRules(durationBetween('1s', '24h'), [
  {
    rule: celMatches('self', wholeSecondsPattern),
    message: 'must be whole seconds, for example 5s or 1m30s',
    holds: (value) => wholeSecondsPattern.test(value),
  },
]);

/** HTTP status codes that count as `what`. */
const statuses = (values: readonly number[], what: string) =>
  z
    .array(z.int().min(200).max(599))
    .min(1)
    .max(64)
    .refine((list) => new Set(list).size === list.length, 'must not list a status twice')
    .meta({ 'x-kubernetes-list-type': 'set' })
    .default([...values])
    .describe(`HTTP status codes that count as ${what}. Default: ${values.join(', ')}.`);

const HEALTHY = [200, 302];
const UNHEALTHY = [429, 404, 500, 501, 502, 503, 504, 505];
const SEEN_HEALTHY = [
  200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308,
];
const SEEN_UNHEALTHY = [429, 500, 503];

const probeType = z
  .enum(['HTTP', 'HTTPS', 'TCP'])
  .default('HTTP')
  .describe(
    'Protocol of the check. HTTP and HTTPS check the status code. TCP checks only that a connection can be opened.',
  );
const consecutive = (least: number, value: number, what: string) =>
  z
    .int()
    .min(least)
    .max(254)
    .default(value)
    .describe(`Number of consecutive ${what}.${least === 0 ? ' 0: never.' : ''}`);

const activeCheck = z.object({
  type: probeType,
  timeout: durationBetween('1ms', '1h').default('1s').describe('Timeout for one probe.'),
  concurrency: z
    .int()
    .min(1)
    .max(1000)
    .default(10)
    .describe('Number of nodes that the gateway probes at the same time.'),
  method: z
    .enum(['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'CONNECT', 'TRACE', 'PURGE'])
    .default('GET')
    .describe('HTTP method of the probes.'),
  path: text(1024, {
    pattern: /^[/][!-~]*$/,
    message: 'path must start with "/" and must not contain spaces, for example /healthz',
  })
    .default('/')
    .describe('Path of the probes, for example `/healthz`.'),
  host: text(253, {
    pattern: hostOfHeader,
    message: 'host must be a host name, with or without a port, for example shop.example.com',
  })
    .optional()
    .describe('Host header of the probes, for example `shop.example.com`. Default: the host of the node.'),
  port: z
    .int()
    .min(1)
    .max(65535)
    .optional()
    .describe(
      'Port to probe. Default: the port of the node. With addressing mode Node or LoadBalancer, and for Services in other namespaces, the GatewayConnection must allow it (`tenantPolicy.probePorts`).',
    ),
  headers: z
    .array(
      text(1024, {
        pattern: /^[!#$%&*+.^_`|~0-9a-zA-Z-]+: ?[ -~]*$/,
        message: 'a header must have the form "Name: value", for example "User-Agent: apisix"',
      }),
    )
    .min(1)
    .max(16)
    .optional()
    .describe('Request headers of the probes, 1 to 16, each in the form `Name: value`.'),
  body: z.string().max(4096).default('').describe('Request body of the probes.'),
  verifyCertificate: z
    .boolean()
    .default(true)
    .describe('With HTTPS: whether the gateway verifies the certificates of the nodes.'),
  healthy: z
    .object({
      interval: wholeSeconds
        .default('1s')
        .describe('Time between two probes of a healthy node, in whole seconds.'),
      statuses: statuses(HEALTHY, 'a success'),
      successes: consecutive(1, 2, 'successes after which an unhealthy node becomes healthy'),
    })
    .default({ interval: '1s', statuses: HEALTHY, successes: 2 })
    .describe('What makes a node healthy.'),
  unhealthy: z
    .object({
      interval: wholeSeconds
        .default('1s')
        .describe('Time between two probes of an unhealthy node, in whole seconds.'),
      statuses: statuses(UNHEALTHY, 'a failure'),
      httpFailures: consecutive(1, 5, 'failures after which a healthy node becomes unhealthy'),
      tcpFailures: consecutive(1, 2, 'failed connections after which a healthy node becomes unhealthy'),
      timeouts: consecutive(1, 3, 'timeouts after which a healthy node becomes unhealthy'),
    })
    .default({ interval: '1s', statuses: UNHEALTHY, httpFailures: 5, tcpFailures: 2, timeouts: 3 })
    .describe('What makes a node unhealthy.'),
});

const passiveCheck = z.object({
  type: probeType,
  healthy: z
    .object({
      statuses: statuses(SEEN_HEALTHY, 'a success'),
      successes: consecutive(0, 5, 'successes after which an unhealthy node becomes healthy'),
    })
    .default({ statuses: SEEN_HEALTHY, successes: 5 })
    .describe('What makes a node healthy.'),
  unhealthy: z
    .object({
      statuses: statuses(SEEN_UNHEALTHY, 'a failure'),
      httpFailures: consecutive(0, 5, 'failures after which a healthy node becomes unhealthy'),
      tcpFailures: consecutive(0, 2, 'failed connections after which a healthy node becomes unhealthy'),
      timeouts: consecutive(0, 7, 'timeouts after which a healthy node becomes unhealthy'),
    })
    .default({ statuses: SEEN_UNHEALTHY, httpFailures: 5, tcpFailures: 2, timeouts: 7 })
    .describe('What makes a node unhealthy.'),
});

const healthCheck = z.object({
  active: activeCheck.describe('Active checks: the gateway sends probes to every node.'),
  passive: passiveCheck
    .optional()
    .describe(
      'Passive checks: the gateway also evaluates the responses to real traffic. They require `active`, because only probes make a node healthy again.',
    ),
});

const tls = z.object({
  clientCertificateSecretRef: z
    .object({
      name: text(253, {
        pattern: dnsSubdomain,
        message:
          'name must be the name of a Secret in the namespace of this object: lowercase letters, digits, "-" and "."',
      }).describe('Name of the Secret.'),
    })
    .optional()
    .describe(
      'Secret of type `kubernetes.io/tls`, in the namespace of this object, with the client certificate that the gateway presents to the nodes. `secretNamespaces` in the configuration of the operator must include the namespace. The operator writes a renewed certificate without a restart.',
    ),
  verify: z.boolean().default(false).describe('Whether the gateway verifies the certificates of the nodes.'),
});

const LABEL_DOMAIN = `${GROUP}/`;
const labelKey = /^[!-~]{1,128}$/;
const labelValue = /^[!-~]{1,256}$/;

const labels = withRules(textMap('labels', 32, 256), [
  {
    rule: `self.all(key, ${celMatches('key', labelKey)} && ${celMatches('self[key]', labelValue)} && !key.startsWith('${LABEL_DOMAIN}'))`,
    message: `labels must have keys of 1 to 128 and values of 1 to 256 characters without spaces, and no key may start with ${LABEL_DOMAIN}, for example team: payments`,
    holds: (value) =>
      Object.entries(value).every(
        ([key, content]) => labelKey.test(key) && labelValue.test(content) && !key.startsWith(LABEL_DOMAIN),
      ),
  },
]);

/** Fields of the spec of a GatewayUpstream. */
export const trafficFields = {
  loadBalancing: loadBalancing
    .optional()
    .describe('How the gateway selects a node for a request. Default: RoundRobin.'),
  scheme: z
    .enum(['HTTP', 'HTTPS', 'GRPC', 'GRPCS', 'TCP', 'TLS', 'UDP'])
    .optional()
    .describe(
      'Protocol between the gateway and the nodes. Default: the `appProtocol` of the Service port, or HTTP if the port has none.',
    ),
  hostHeader: hostHeader.optional().describe('The Host header that the nodes receive. Default: Pass.'),
  timeouts: timeouts.optional(),
  retries: z
    .int()
    .min(0)
    .max(1000)
    .optional()
    .describe(
      'How often the gateway retries a failed request on another node. Default: the default of the gateway, which is the number of nodes minus one.',
    ),
  retryTimeout: durationBetween('0s', '24h')
    .optional()
    .describe(
      'Time after which the gateway stops retrying a request, for example `5s`. 0s: no limit. Default: no limit.',
    ),
  keepalive: keepalive
    .optional()
    .describe(
      'Pool of idle connections to the nodes of this upstream. Default: the pool that the gateway shares among all upstreams.',
    ),
  healthCheck: healthCheck
    .optional()
    .describe('Health checks that the gateway runs against the nodes. Default: none.'),
  tls: tls
    .optional()
    .describe('TLS settings for connections to the nodes. They apply to the schemes HTTPS, GRPCS and TLS.'),
  labels: labels
    .optional()
    .describe('Labels of the upstream in the gateway, at most 32. The operator adds its ownership labels.'),
  description: z
    .string()
    .max(256)
    .optional()
    .describe('Description of the upstream in the gateway, at most 256 characters.'),
};
