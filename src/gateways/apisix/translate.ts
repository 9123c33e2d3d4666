import { isIPv6 } from 'node:net';
import { compareNodes } from '../../decide/nodes.ts';
import type {
  Failures,
  HashOn,
  HealthCheck,
  LoadBalancing,
  ObservedUpstream,
  Upstream,
  UpstreamNode,
} from '../../model/upstream.ts';
import { interned } from '../../runtime/interned.ts';
import { isObject, textsIn } from '../../runtime/json.ts';
import { discoveredBy } from './discovery.ts';
import { labelMarks, withoutMarks } from './ownership.ts';

/** An upstream in the format of the Admin API. */
export type AdminUpstream = Readonly<Record<string, unknown>>;

export const TYPE = {
  RoundRobin: 'roundrobin',
  ConsistentHash: 'chash',
  EWMA: 'ewma',
  LeastConn: 'least_conn',
} as const satisfies Record<LoadBalancing['type'], string>;

export const HASH_ON = {
  Vars: 'vars',
  Header: 'header',
  Cookie: 'cookie',
  Consumer: 'consumer',
  VarsCombinations: 'vars_combinations',
} as const satisfies Record<HashOn, string>;

/** The key of a node's backend mark in its `metadata`. Short, because an upstream may have 10,000 nodes and a request at most 1.5 MiB. */
const BACKEND_MARK = 'gwu';

/** Fields that the gateway sets. */
const SERVER_FIELDS = new Set(['id', 'create_time', 'update_time']);

/**
 * The defaults of APISIX for absent fields. Versions up to 3.13 store them; 3.14.1 and later store what was sent. So a field
 * with its default value and an absent field mean the same.
 */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  type: 'roundrobin',
  scheme: 'http',
  hash_on: 'vars',
  pass_host: 'pass',
};

/** The body of a PUT for `upstream`. The id is part of the path. */
export function toAdmin(upstream: Upstream): AdminUpstream {
  const { hostHeader, timeouts, retryTimeoutMs, keepalive, healthCheck, tls } = upstream;
  const fields: AdminUpstream = {
    ...upstream.overrides,
    type: TYPE[upstream.loadBalancing.type],
    ...hashOf(upstream.loadBalancing),
    scheme: upstream.scheme.toLowerCase(),
    nodes: toAdminNodes(upstream.nodes),
    labels: labelsOf(upstream),
    desc: upstream.description,
    pass_host: hostHeader?.type.toLowerCase(),
    upstream_host: hostHeader?.type === 'Rewrite' ? hostHeader.value : undefined,
    // APISIX requires all three, in seconds.
    timeout: timeouts && {
      connect: timeouts.connectMs / 1000,
      send: timeouts.sendMs / 1000,
      read: timeouts.readMs / 1000,
    },
    retries: upstream.retries,
    retry_timeout: retryTimeoutMs === undefined ? undefined : retryTimeoutMs / 1000,
    keepalive_pool: keepalive && {
      size: keepalive.size,
      idle_timeout: keepalive.idleTimeoutMs / 1000,
      requests: keepalive.requests,
    },
    checks: healthCheck && toChecks(healthCheck),
    tls: tls && {
      verify: tls.verify,
      client_cert: tls.clientCertificate?.certificate,
      client_key: tls.clientCertificate?.key,
    },
  };
  return withoutUndefined(fields);
}

function labelsOf({ labels, owner }: Upstream): Readonly<Record<string, string>> {
  return owner === undefined ? labels : { ...labels, ...labelMarks.encode(owner) };
}

export function toAdminNodes(nodes: readonly UpstreamNode[]): readonly AdminUpstream[] {
  return nodes.map(({ host, port, weight, priority, backendMark }) => ({
    // Measured with APISIX 3.18: it rejects an IPv6 address without brackets.
    host: host.includes(':') && isIPv6(host) ? `[${host}]` : host,
    port,
    weight,
    ...(priority === 0 ? {} : { priority }),
    ...(backendMark === undefined ? {} : { metadata: { [BACKEND_MARK]: backendMark } }),
  }));
}

function hashOf(loadBalancing: LoadBalancing): AdminUpstream {
  if (loadBalancing.type !== 'ConsistentHash') return {};
  return { hash_on: HASH_ON[loadBalancing.hashOn], key: loadBalancing.key };
}

/** Contains every default explicitly, because APISIX stores defaults up to 3.13 but not later. */
function toChecks({ active, passive }: HealthCheck): AdminUpstream {
  const { type, timeoutMs, concurrency, host, port, headers, verifyCertificate } = active;
  return {
    active: {
      type: type.toLowerCase(),
      timeout: timeoutMs / 1000,
      concurrency,
      http_method: active.method,
      http_path: active.path,
      http_req_body: active.body,
      host,
      port,
      req_headers: headers,
      https_verify_certificate: verifyCertificate,
      healthy: { interval: active.healthy.intervalSeconds, ...successesOf(active.healthy) },
      unhealthy: { interval: active.unhealthy.intervalSeconds, ...failuresOf(active.unhealthy) },
    },
    passive: passive && {
      type: passive.type.toLowerCase(),
      healthy: successesOf(passive.healthy),
      unhealthy: failuresOf(passive.unhealthy),
    },
  };
}

function successesOf(healthy: { readonly statuses: readonly number[]; readonly successes: number }) {
  return { http_statuses: healthy.statuses, successes: healthy.successes };
}

function failuresOf({ statuses, httpFailures, tcpFailures, timeouts }: Failures) {
  return {
    http_statuses: statuses,
    http_failures: httpFailures,
    tcp_failures: tcpFailures,
    timeouts,
  };
}

/** Removes undefined members at any depth, as JSON does. */
function withoutUndefined(value: AdminUpstream): AdminUpstream {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]) => [name, isObject(member) ? withoutUndefined(member) : member]),
  );
}

/** The upstream `id` of any client. The canonical form preserves values that the operator would not write. */
export function toObserved(id: string, value: AdminUpstream): ObservedUpstream {
  const createTime = value['create_time'];
  return {
    id,
    ...labelsIn(value['labels']),
    nodes: toNodes(value),
    ...(typeof createTime === 'number' ? { createTime } : {}),
    ...discoveryOf(value),
    canonical: canonicalForm(value),
  };
}

function labelsIn(value: unknown): Pick<ObservedUpstream, 'owner' | 'labels'> {
  const labels = textsIn(value);
  const owner = labelMarks.decode(labels);
  return owner === undefined ? { labels } : { owner, labels: withoutMarks(labels) };
}

const DISCOVERY_FIELDS = ['discovery_args', 'discovery_type', 'service_name'];

function discoveryOf(value: AdminUpstream): Pick<ObservedUpstream, 'discovery'> {
  const fields = DISCOVERY_FIELDS.filter((field) => value[field] !== undefined);
  if (fields.length === 0) return {};
  return { discovery: { by: discoveredBy(value['discovery_type']), fields } };
}

/** `value` as JSON with sorted keys and nodes as a sorted array, without fields that the gateway sets or that equal a default. */
export function canonicalForm(value: AdminUpstream): string {
  const kept = Object.keys(value).filter((field) => {
    const content = value[field];
    if (SERVER_FIELDS.has(field) || content === DEFAULTS[field]) return false;
    // Lua does not distinguish an empty object from an empty list: both mean no labels.
    return field !== 'labels' || !isEmpty(content);
  });
  return objectText(kept, (field) => canonicalField(field, value[field]));
}

function canonicalField(field: string, content: unknown): string | undefined {
  if (field === 'nodes') return canonicalNodes(content);
  // Measured with APISIX 3.18: it returns the key encrypted. Comparing the certificate is enough, because the key matches it.
  if (field === 'tls' && isObject(content)) {
    const { client_key: _key, ...rest } = content;
    return sortedText(rest);
  }
  return sortedText(content);
}

/** Nodes as a sorted array with all their fields. A value in neither form of `nodes` is kept unchanged. */
function canonicalNodes(raw: unknown): string | undefined {
  const list = toList(raw);
  if (list === undefined) return sortedText(raw);
  const texts = list.map((entry) =>
    isObject(entry) ? (plainNode(entry) ?? textInList({ priority: 0, ...entry })) : textInList(entry),
  );
  return `[${texts.sort().join(',')}]`;
}

/** A fast path for nodes in the form that the operator writes. Nodes take four fifths of the time of `canonicalForm`. */
function plainNode(entry: AdminUpstream): string | undefined {
  const { host, port, weight, priority = 0, metadata } = entry;
  const fields = 3 + ('priority' in entry ? 1 : 0) + ('metadata' in entry ? 1 : 0);
  if (Object.keys(entry).length !== fields) return undefined;
  if (typeof host !== 'string' || !Number.isFinite(port)) return undefined;
  if (!Number.isFinite(weight) || !Number.isFinite(priority)) return undefined;
  const mark = 'metadata' in entry ? plainMark(metadata) : '';
  if (mark === undefined) return undefined;
  return `{"host":${JSON.stringify(host)},${mark}"port":${port},"priority":${priority},"weight":${weight}}`;
}

/** The field `metadata` as text, if it has only a backend mark. */
function plainMark(metadata: unknown): string | undefined {
  const mark = isObject(metadata) ? metadata[BACKEND_MARK] : undefined;
  if (!isObject(metadata) || typeof mark !== 'string' || Object.keys(metadata).length !== 1) return undefined;
  return `"metadata":{"${BACKEND_MARK}":${JSON.stringify(mark)}},`;
}

function toNodes({ nodes, scheme }: AdminUpstream): readonly UpstreamNode[] {
  const defaultPort = scheme === 'https' || scheme === 'grpcs' ? 443 : 80;
  return (toList(nodes) ?? []).map((entry) => toNode(entry, defaultPort)).sort(compareNodes);
}

/** Converts both forms of `nodes` to a list: an array of objects, or a map from `host:port` to weight. Undefined for anything else. */
function toList(raw: unknown): readonly unknown[] | undefined {
  if (Array.isArray(raw)) return raw;
  if (!isObject(raw)) return undefined;
  return Object.entries(raw).map(([address, weight]) => {
    // The last group of an IPv6 address without brackets is not a port.
    const [, host = address, port] = isIPv6(address) ? [] : (/^(.*?)(?::(\d+))?$/.exec(address) ?? []);
    return { host, weight, ...(port === undefined ? {} : { port: Number(port) }) };
  });
}

/** A node that any client wrote. All fields may be missing. */
function toNode(raw: unknown, defaultPort: number): UpstreamNode {
  const { host, port, weight, priority, metadata } = isObject(raw) ? raw : {};
  const mark = isObject(metadata) ? metadata[BACKEND_MARK] : undefined;
  return {
    host: typeof host === 'string' ? withoutBrackets(host) : '',
    // APISIX 3.18 uses port 80 for a node without a port (measured), and 443 with https and grpcs (from the source of 2.x).
    port: typeof port === 'number' ? port : defaultPort,
    weight: typeof weight === 'number' ? weight : 0,
    priority: typeof priority === 'number' ? priority : 0,
    ...(typeof mark === 'string' ? { backendMark: interned(mark) } : {}),
  };
}

/** APISIX accepts any host in brackets, but only for IPv6 addresses the brackets can be removed. */
function withoutBrackets(host: string): string {
  if (!host.startsWith('[')) return host;
  const inner = /^\[(.*)\]$/.exec(host)?.[1];
  return inner !== undefined && isIPv6(inner) ? inner : host;
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** `value` as JSON with sorted keys; undefined for values that JSON cannot express. */
function sortedText(value: unknown): string | undefined {
  if (Array.isArray(value)) return `[${value.map(textInList).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value);
  return objectText(Object.keys(value), (key) => sortedText(value[key]));
}

function textInList(entry: unknown): string {
  return sortedText(entry) ?? 'null';
}

function objectText(keys: string[], textOf: (key: string) => string | undefined): string {
  const members = keys.sort().flatMap((key) => {
    const text = textOf(key);
    return text === undefined ? [] : [`${JSON.stringify(key)}:${text}`];
  });
  return `{${members.join(',')}}`;
}
