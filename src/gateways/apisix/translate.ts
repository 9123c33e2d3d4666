import { isIPv6 } from 'node:net';
import type { HashOn, LoadBalancing, ObservedUpstream, Upstream, UpstreamNode } from '../../core/model.ts';
import { compareNodes } from '../../core/nodes.ts';

/** An upstream as the Admin API takes and gives it. */
export type AdminUpstream = Readonly<Record<string, unknown>>;

const TYPE = {
  RoundRobin: 'roundrobin',
  ConsistentHash: 'chash',
  EWMA: 'ewma',
  LeastConn: 'least_conn',
} as const satisfies Record<LoadBalancing['type'], string>;

const HASH_ON = {
  Vars: 'vars',
  Header: 'header',
  Cookie: 'cookie',
  Consumer: 'consumer',
  VarsCombinations: 'vars_combinations',
} as const satisfies Record<HashOn, string>;

/** Fields that the gateway itself writes. */
const SERVER_FIELDS = new Set(['id', 'create_time', 'update_time']);

/**
 * What APISIX takes where a field is absent. Up to 3.13 it stores these, 3.14.1 and later store what was sent: equal to
 * the default and absent are the same.
 */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  type: 'roundrobin',
  scheme: 'http',
  hash_on: 'vars',
  pass_host: 'pass',
};

/** The body of a PUT for `upstream`; the id goes into the path. */
export function toAdmin(upstream: Upstream): AdminUpstream {
  const { loadBalancing, timeouts, retries } = upstream;
  return {
    type: TYPE[loadBalancing.type],
    scheme: upstream.scheme.toLowerCase(),
    nodes: upstream.nodes.map(({ host, port, weight, priority }) => ({
      // APISIX 3.18, measured: an IPv6 address without brackets is refused.
      host: isIPv6(host) ? `[${host}]` : host,
      port,
      weight,
      ...(priority === 0 ? {} : { priority }),
    })),
    labels: upstream.labels,
    ...(loadBalancing.type === 'ConsistentHash'
      ? {
          hash_on: HASH_ON[loadBalancing.hashOn],
          ...(loadBalancing.key === undefined ? {} : { key: loadBalancing.key }),
        }
      : {}),
    // APISIX needs all three, in seconds.
    ...(timeouts === undefined
      ? {}
      : {
          timeout: {
            connect: timeouts.connectMs / 1000,
            send: timeouts.sendMs / 1000,
            read: timeouts.readMs / 1000,
          },
        }),
    ...(retries === undefined ? {} : { retries }),
  };
}

/** What the gateway holds as `id`, whoever made it: shapes that we would not write are kept in the canonical form. */
export function toObserved(id: string, value: AdminUpstream): ObservedUpstream {
  const createTime = value['create_time'];
  return {
    id,
    labels: stringValues(value['labels']),
    nodes: toNodes(value['nodes']) ?? [],
    ...(typeof createTime === 'number' ? { createTime } : {}),
    canonical: canonicalForm(value),
  };
}

/** Everything of `value` but what the server adds and what equals a default: keys sorted, nodes as a sorted array. */
export function canonicalForm(value: AdminUpstream): string {
  const kept = Object.entries(value).filter(
    ([field, content]) => !SERVER_FIELDS.has(field) && content !== DEFAULTS[field],
  );
  const nodes = toNodes(value['nodes']);
  return JSON.stringify(
    sorted(
      Object.fromEntries(
        kept.map(([field, content]) => {
          if (field === 'nodes' && nodes !== undefined) return [field, canonicalNodes(value['nodes'], nodes)];
          // Lua cannot tell an empty object from an empty list: both are "nothing".
          if (field === 'labels' && isEmpty(content)) return [field, {}];
          return [field, content];
        }),
      ),
    ),
  );
}

/** Nodes with what we know of them, and whatever else the array form holds per node. */
function canonicalNodes(raw: unknown, nodes: readonly UpstreamNode[]): readonly object[] {
  if (!Array.isArray(raw)) return nodes;
  return raw
    .map((entry: unknown) => ({ ...(isObject(entry) ? entry : {}), ...toNode(entry) }))
    .sort((a, b) => compareNodes(a, b) || (JSON.stringify(sorted(a)) < JSON.stringify(sorted(b)) ? -1 : 1));
}

/** Both forms of `nodes`: an array of objects, and an object of `host:port` to weight. Undefined for anything else. */
function toNodes(raw: unknown): readonly UpstreamNode[] | undefined {
  if (Array.isArray(raw)) return raw.map(toNode).sort(compareNodes);
  if (!isObject(raw)) return undefined;
  return Object.entries(raw)
    .map(([address, weight]) => {
      const [, host = address, port] = /^(.*?)(?::(\d+))?$/.exec(address) ?? [];
      return toNode({ host, weight, ...(port === undefined ? {} : { port: Number(port) }) });
    })
    .sort(compareNodes);
}

function toNode(raw: unknown): UpstreamNode {
  const { host, port, weight, priority } = isObject(raw) ? raw : {};
  return {
    host: typeof host === 'string' ? host.replace(/^\[(.*)\]$/, '$1') : '',
    // APISIX uses port 80 for a node without one.
    port: typeof port === 'number' ? port : 80,
    weight: typeof weight === 'number' ? weight : 0,
    priority: typeof priority === 'number' ? priority : 0,
  };
}

function stringValues(raw: unknown): Record<string, string> {
  if (!isObject(raw)) return {};
  return Object.fromEntries(
    Object.entries(raw).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** The same value with the keys of every object in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}
