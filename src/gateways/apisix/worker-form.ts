import { isObject } from '../../runtime/json.ts';
import { type AdminUpstream, canonicalForm } from './translate.ts';

/**
 * All fields of an upstream in APISIX 3.18. A worker adds internal fields to the same object, for example `original_nodes`
 * and `nodes_ref` after the first request (from the source of APISIX).
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

/** All fields of a node. A worker adds `upstream_host` and `domain` to its copy. */
const NODE_FIELDS = ['host', 'port', 'weight', 'priority', 'metadata'] as const;

interface Defaults {
  readonly [field: string]: Defaults | string | number | boolean | readonly number[];
}

/**
 * The defaults that a worker adds to incomplete sections, from the source of APISIX (`apisix/schema_def.lua`). A worker does
 * not add missing sections.
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
 * Normalizes both an upstream that a worker shows and a canonical form, so that the two can be compared. The first request
 * through an upstream changes what the worker shows, but not this form.
 */
export function workerForm(value: AdminUpstream): string {
  const own = Object.fromEntries(Object.entries(value).filter(([field]) => FIELDS.has(field)));
  const nodes = givenNodes(value);
  return canonicalForm(withSectionDefaults(nodes === undefined ? own : { ...own, nodes }));
}

/**
 * Since 3.14, if an upstream has DNS names, `dns_nodes` contains the original nodes, and `nodes` contains the resolved
 * addresses without names that do not resolve (measured with APISIX 3.18). Before 3.14, `nodes` contains the names.
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

/** `value` with the defaults that a worker adds to its sections. */
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
