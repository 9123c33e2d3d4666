import { isObject } from '../../runtime/json.ts';
import { type AdminUpstream, canonicalForm } from './translate.ts';

/**
 * Every field that an upstream of APISIX 3.18 can hold. A worker keeps more in the same object, for example
 * `original_nodes` and `nodes_ref` after the first request (by source).
 */
const FIELDS: ReadonlySet<string> = new Set([
  'checks',
  'desc',
  'discovery_args',
  'discovery_type',
  'hash_on',
  'keepalive_pool',
  'key',
  'labels',
  'name',
  'nodes',
  'pass_host',
  'retries',
  'retry_timeout',
  'scheme',
  'service_name',
  'timeout',
  'tls',
  'type',
  'upstream_host',
]);

/** Every field that a node can hold. A worker adds `upstream_host` and `domain` to its own copy. */
const NODE_FIELDS = ['host', 'port', 'weight', 'priority', 'metadata'] as const;

interface Defaults {
  readonly [field: string]: Defaults | string | number | boolean | readonly number[];
}

/**
 * What a worker adds to sections that the store holds in part. By source (`apisix/schema_def.lua`); a section that is not
 * there at all is not made.
 */
const SECTION_DEFAULTS: Defaults = {
  keepalive_pool: { size: 320, idle_timeout: 60, requests: 1000 },
  tls: { verify: false },
  checks: {
    active: {
      type: 'http',
      timeout: 1,
      concurrency: 10,
      http_method: 'GET',
      http_path: '/',
      http_req_body: '',
      https_verify_certificate: true,
      healthy: { interval: 1, http_statuses: [200, 302], successes: 2 },
      unhealthy: {
        interval: 1,
        http_statuses: [429, 404, 500, 501, 502, 503, 504, 505],
        http_failures: 5,
        tcp_failures: 2,
        timeouts: 3,
      },
    },
    passive: {
      type: 'http',
      healthy: {
        http_statuses: [
          200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308,
        ],
        successes: 5,
      },
      unhealthy: { http_statuses: [429, 500, 503], tcp_failures: 2, timeouts: 7, http_failures: 5 },
    },
  },
};

/**
 * The canonical form of what a worker was given, read from what it shows; of a canonical form, what a worker reads it as.
 * The first request through an upstream changes what its worker shows, but not this form.
 */
export function workerForm(value: AdminUpstream): string {
  const own = Object.fromEntries(Object.entries(value).filter(([field]) => FIELDS.has(field)));
  const nodes = givenNodes(value);
  return canonicalForm(withSectionDefaults(nodes === undefined ? own : { ...own, nodes }));
}

/**
 * From 3.14 on, `dns_nodes` holds the nodes of an upstream that has a name among them; `nodes` holds the addresses that the
 * names resolve to, and lacks names that do not resolve (APISIX 3.18, measured). Before that, `nodes` keeps the names.
 */
function givenNodes({ nodes, dns_nodes: withNames }: AdminUpstream): unknown {
  const given = withNames ?? nodes;
  return Array.isArray(given)
    ? given.map((node: unknown) => (isObject(node) ? givenNode(node) : node))
    : given;
}

function givenNode(node: AdminUpstream): AdminUpstream {
  return Object.fromEntries(
    NODE_FIELDS.filter((field) => node[field] !== undefined).map((field) => [field, node[field]]),
  );
}

/** `value` with what a worker adds to its sections. */
export function withSectionDefaults(value: AdminUpstream): AdminUpstream {
  return withDefaults(value, SECTION_DEFAULTS);
}

function withDefaults(value: AdminUpstream, defaults: Defaults): AdminUpstream {
  const filled: Record<string, unknown> = { ...value };
  for (const [field, preset] of Object.entries(defaults)) {
    const content = value[field];
    if (!isObject(preset)) filled[field] = content ?? preset;
    else if (isObject(content)) filled[field] = withDefaults(content, preset);
  }
  return filled;
}
