import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { z } from 'zod';
import { parseNodeAddress } from './node-address.ts';
import type { JsonObject } from './store.ts';
import { needsBrackets, refusedBy, refusesUnknownFields } from './versions.ts';

/**
 * The schemas of APISIX 3.18 for the resources of the stand-in, from recordings or from the source
 * (`apisix/schema_def.lua`). Parsed values contain the defaults, which 3.13 and older store.
 */

const integer = (min: number, max = Number.POSITIVE_INFINITY) =>
  z.number().refine((value) => Number.isInteger(value) && value >= min && value <= max, {
    error: `expected an integer of ${min} to ${max}`,
  });
const anyInteger = integer(Number.NEGATIVE_INFINITY);

/** Lengths count characters, not bytes: 200 times `é` is within a limit of 256. */
const text = (min: number, max: number) =>
  z.string().refine((value) => [...value].length >= min && [...value].length <= max, {
    error: `expected ${min} to ${max} characters`,
  });
const unique = <T>(items: readonly T[]) => new Set(items).size === items.length;

const id = z.union([text(1, 64).regex(/^[a-zA-Z0-9\-_.]+$/), integer(1)]);
const hostPattern = z.string().regex(/^\*$|^\*?[0-9a-zA-Z\-._[\]:]+$/);
const port = integer(1, 65_535);
const pemCertificate = text(128, 65_536);
const pemKey = text(64, 65_536);

const metadata = {
  id: id.optional(),
  name: text(1, 256).optional(),
  desc: text(0, 256).optional(),
  labels: z.record(z.string(), text(1, 256).regex(/^[^ \t\n\v\f\r]+$/)).optional(),
  create_time: anyInteger.optional(),
  update_time: anyInteger.optional(),
};

const timeout = z.looseObject({ connect: z.number().gt(0), send: z.number().gt(0), read: z.number().gt(0) });

const nodes = z.union([
  z.record(z.string(), integer(0)),
  z.array(
    z.looseObject({
      host: hostPattern,
      port: port.optional(),
      weight: integer(0),
      priority: anyInteger.default(0),
      metadata: z.looseObject({}).optional(),
    }),
  ),
]);

const statuses = z.array(integer(200, 599)).min(1).refine(unique, { error: 'expected unique items' });
const probeType = z.enum(['http', 'https', 'tcp']).default('http');
const checks = z.looseObject({
  active: z.looseObject({
    type: probeType,
    timeout: z.number().default(1),
    concurrency: anyInteger.default(10),
    host: hostPattern.optional(),
    port: port.optional(),
    http_method: z
      .enum(['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'CONNECT', 'TRACE', 'PURGE'])
      .default('GET'),
    http_path: z.string().default('/'),
    http_req_body: z.string().default(''),
    https_verify_certificate: z.boolean().default(true),
    healthy: z
      .looseObject({
        interval: integer(1).default(1),
        http_statuses: statuses.default([200, 302]),
        successes: integer(1, 254).default(2),
      })
      .optional(),
    unhealthy: z
      .looseObject({
        interval: integer(1).default(1),
        http_statuses: statuses.default([429, 404, 500, 501, 502, 503, 504, 505]),
        http_failures: integer(1, 254).default(5),
        tcp_failures: integer(1, 254).default(2),
        timeouts: integer(1, 254).default(3),
      })
      .optional(),
    req_headers: z.array(z.string()).min(1).optional(),
  }),
  passive: z
    .looseObject({
      type: probeType,
      healthy: z
        .looseObject({
          http_statuses: statuses.default([
            200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308,
          ]),
          successes: integer(0, 254).default(5),
        })
        .optional(),
      unhealthy: z
        .looseObject({
          http_statuses: statuses.default([429, 500, 503]),
          tcp_failures: integer(0, 254).default(2),
          timeouts: integer(0, 254).default(7),
          http_failures: integer(0, 254).default(5),
        })
        .optional(),
    })
    .optional(),
});

const tls = z
  .looseObject({
    client_cert_id: id.optional(),
    client_cert: pemCertificate.optional(),
    client_key: pemKey.optional(),
    verify: z.boolean().default(false),
  })
  .refine((value) => (value.client_cert === undefined) === (value.client_key === undefined), {
    error: 'client_cert and client_key need each other',
  })
  .refine((value) => value.client_cert_id === undefined || value.client_cert === undefined, {
    error: 'client_cert_id excludes client_cert and client_key',
  });

const upstream = z
  .strictObject({
    ...metadata,
    nodes: nodes.optional(),
    retries: integer(0).optional(),
    retry_timeout: z.number().min(0).optional(),
    timeout: timeout.optional(),
    tls: tls.optional(),
    keepalive_pool: z
      .looseObject({
        size: integer(1).default(320),
        idle_timeout: z.number().min(0).default(60),
        requests: integer(1).default(1000),
      })
      .optional(),
    // Not an enum: any string is stored, and the data plane fails.
    type: z.string().default('roundrobin'),
    checks: checks.optional(),
    hash_on: z.enum(['vars', 'header', 'cookie', 'consumer', 'vars_combinations']).default('vars'),
    key: z.string().optional(),
    scheme: z.enum(['grpc', 'grpcs', 'http', 'https', 'tcp', 'tls', 'udp', 'kafka']).default('http'),
    discovery_type: z.string().optional(),
    discovery_args: z
      .looseObject({ namespace_id: z.string().optional(), group_name: z.string().optional() })
      .optional(),
    pass_host: z.enum(['pass', 'node', 'rewrite']).default('pass'),
    upstream_host: hostPattern.optional(),
    service_name: text(1, 256).optional(),
    // For versions after 3.18.
    warm_up_conf: z.looseObject({ slow_start_time_seconds: integer(1) }).optional(),
  })
  .refine(
    ({ nodes, service_name, discovery_type }) =>
      (nodes !== undefined) !== (service_name !== undefined && discovery_type !== undefined),
    { error: 'expected either nodes, or service_name and discovery_type' },
  );

const hosts = z.array(hostPattern).min(1).refine(unique, { error: 'expected unique items' });
const plugins = z.looseObject({});

const route = z
  .strictObject({
    ...metadata,
    uri: text(1, 4096).optional(),
    uris: z.array(z.string()).min(1).refine(unique, { error: 'expected unique items' }).optional(),
    priority: anyInteger.default(0),
    methods: z.array(z.string()).optional(),
    host: hostPattern.optional(),
    hosts: hosts.optional(),
    remote_addr: z.string().optional(),
    remote_addrs: z.array(z.string()).min(1).optional(),
    timeout: timeout.optional(),
    vars: z.array(z.unknown()).optional(),
    filter_func: z.string().startsWith('function').min(10).optional(),
    script: text(10, 102_400).optional(),
    script_id: id.optional(),
    plugins: plugins.optional(),
    plugin_config_id: id.optional(),
    upstream: upstream.optional(),
    service_id: id.optional(),
    upstream_id: id.optional(),
    enable_websocket: z.boolean().optional(),
    status: z.literal([0, 1]).default(1),
  })
  .refine(({ uri, uris }) => (uri === undefined) !== (uris === undefined), {
    error: 'expected either uri or uris',
  })
  .refine((value) => value.host === undefined || value.hosts === undefined, {
    error: 'only one of host or hosts is allowed',
  })
  .refine((value) => value.remote_addr === undefined || value.remote_addrs === undefined, {
    error: 'only one of remote_addr or remote_addrs is allowed',
  })
  .refine(
    (value) =>
      [value.plugins, value.upstream, value.upstream_id, value.service_id, value.script].some(
        (target) => target !== undefined,
      ),
    { error: 'object matches none of the required' },
  )
  .refine(
    (value) =>
      value.script === undefined || (value.plugins === undefined && value.plugin_config_id === undefined),
    { error: 'script excludes plugins and plugin_config_id' },
  );

const service = z.strictObject({
  ...metadata,
  plugins: plugins.optional(),
  upstream: upstream.optional(),
  upstream_id: id.optional(),
  script: text(10, 102_400).optional(),
  enable_websocket: z.boolean().optional(),
  hosts: hosts.optional(),
});

// By source, because the recording had the stream proxy off.
const streamRoute = z.strictObject({
  ...metadata,
  remote_addr: z.string().optional(),
  server_addr: z.string().optional(),
  server_port: port.optional(),
  sni: hostPattern.optional(),
  upstream: upstream.optional(),
  upstream_id: id.optional(),
  service_id: id.optional(),
  plugins: plugins.optional(),
  protocol: z.looseObject({ name: z.string(), superior_id: id.optional() }).optional(),
});

const { name: _unnamed, ...sslMetadata } = metadata;
const ssl = z
  .strictObject({
    ...sslMetadata,
    type: z.enum(['server', 'client']).default('server'),
    cert: pemCertificate,
    key: pemKey,
    sni: hostPattern.optional(),
    snis: z.array(hostPattern).min(1).optional(),
    certs: z.array(pemCertificate).optional(),
    keys: z.array(pemKey).optional(),
    client: z.looseObject({ ca: pemCertificate }).optional(),
    status: z.literal([0, 1]).default(1),
    ssl_protocols: z
      .array(z.enum(['TLSv1.1', 'TLSv1.2', 'TLSv1.3']))
      .max(3)
      .optional(),
  })
  .refine((value) => value.type === 'client' || (value.sni === undefined) !== (value.snis === undefined), {
    error: 'a server certificate needs either sni or snis',
  });

export const SCHEMAS = {
  upstreams: upstream,
  routes: route,
  services: service,
  stream_routes: streamRoute,
  ssls: ssl,
} as const;
export type ResourceName = keyof typeof SCHEMAS;

/** The value with defaults, or the reason why it is rejected. */
export type Checked =
  | { readonly ok: true; readonly value: JsonObject }
  | { readonly ok: false; readonly error: string };

export function checkSchema(name: ResourceName, value: unknown): Checked {
  const parsed = SCHEMAS[name].safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  const [issue] = parsed.error.issues;
  const where = (issue?.path ?? []).map((part) => `property "${String(part)}" validation failed: `).join('');
  return { ok: false, error: `${where}${issue?.message ?? 'invalid'}` };
}

const HASH_KEYS: Readonly<Record<string, RegExp>> = {
  vars: /^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$/,
  header: /^[a-zA-Z0-9\-_]+$/,
  cookie: /^[a-zA-Z0-9\-_]+$/,
  vars_combinations: /^/,
};

/** The rules of a version for an upstream beyond its schema, in APISIX's order. */
export function checkUpstream(value: JsonObject, version: string): Checked {
  const listed = Array.isArray(value['nodes']) ? value['nodes'] : [];
  // APISIX checks hosts before the schema. `isIPv6` is false for a host in brackets.
  if (needsBrackets(version) && listed.some((node) => isIPv6(String(node?.host)))) {
    return refused("invalid configuration: IPv6 address must be enclosed with '[' and ']'");
  }
  const refusal = refusedBy(version, value);
  if (refusal !== undefined) return refused(refusal);
  const checked = checkSchema('upstreams', refusesUnknownFields(version) ? value : knownFieldsOf(value));
  if (!checked.ok) return refused(`invalid configuration: ${checked.error}`);
  const { nodes, pass_host, upstream_host, tls, type, hash_on, key } = checked.value;
  if (isObject(nodes)) {
    for (const address of Object.keys(nodes)) {
      const { port } = parseNodeAddress(address);
      if (port !== undefined && (port < 1 || port > 65_535)) return refused(`invalid port ${port}`);
    }
  }
  if (pass_host === 'rewrite' && upstream_host === undefined) {
    return refused("`upstream_host` can't be empty when `pass_host` is `rewrite`");
  }
  const tlsError = isObject(tls) ? checkKeyPair(tls['client_cert'], tls['client_key']) : undefined;
  if (tlsError !== undefined) return refused(tlsError);
  if (type === 'chash' && hash_on !== 'consumer') {
    if (key === undefined) return refused('missing key');
    const pattern = HASH_KEYS[String(hash_on)];
    if (pattern !== undefined && !pattern.test(String(key))) {
      return refused(
        `invalid configuration: failed to match pattern "${pattern.source}" with "${String(key)}"`,
      );
    }
  }
  return { ok: true, value: { ...value, ...checked.value } };
}

function knownFieldsOf(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => Object.hasOwn(upstream.shape, name)));
}

/** Each must parse; a mismatch is accepted (measured). An encrypted key is not PEM and is accepted. */
export function checkKeyPair(certificate: unknown, key: unknown): string | undefined {
  try {
    if (typeof certificate === 'string') new X509Certificate(certificate);
  } catch {
    return 'failed to parse cert';
  }
  try {
    if (typeof key === 'string' && key.startsWith('---')) createPrivateKey(key);
  } catch {
    return 'failed to parse key';
  }
  return undefined;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(error: string): Checked {
  return { ok: false, error };
}
