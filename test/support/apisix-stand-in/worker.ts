import { isIP, isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { parseNodeAddress } from './node-address.ts';
import { checkSchema, isObject } from './schema.ts';
import type { JsonObject, StoredItem } from './store.ts';
import { picksLoneLeastConnNode, resolvesIntoNodes } from './versions.ts';

/** The standard ports by scheme. A worker omits them from `upstream_host`. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443, grpc: 80, grpcs: 443 };

type MutableObject = Record<string, unknown>;

export interface WorkerOptions {
  readonly version: () => string;
  /** The address of a name; undefined if the name does not resolve. */
  readonly resolve: (name: string) => string | undefined;
}

/**
 * The upstreams of one worker. Requests change them, and the Control API shows them (measured with APISIX 3.18; other
 * versions by source). Not modeled: up to 3.13, a worker that has resolved a name answers 500, because its value has a cycle.
 */
export interface Worker {
  /** The upstream in the Control API. */
  shown(item: StoredItem): JsonObject;
  /** The upstream of a request. `holder` is the stored object that contains `stored`: an upstream, a route or a service. */
  used(holder: StoredItem, stored: JsonObject): JsonObject;
  /** Called when a request selects a node of `used`. */
  picked(used: JsonObject): void;
}

interface Copy {
  readonly version: string;
  readonly value: MutableObject;
  /** For versions up to 3.13: `value` with addresses instead of names. */
  resolved?: MutableObject;
}

export function createWorker({ version, resolve }: WorkerOptions): Worker {
  const copies = new WeakMap<StoredItem, Copy>();

  function copyOf(holder: StoredItem, stored: JsonObject): Copy {
    const known = copies.get(holder);
    // An upgrade restarts the worker.
    if (known?.version === version()) return known;
    const copy = { version: version(), value: loaded(stored) };
    copies.set(holder, copy);
    return copy;
  }

  function loaded(stored: JsonObject): MutableObject {
    const value = structuredClone(withDefaults(stored));
    return resolvesIntoNodes(version()) && hasName(value) ? { ...value, dns_nodes: value['nodes'] } : value;
  }

  /** A node with an address stays the same object, so fields that a request adds appear in `dns_nodes` too. */
  function withAddresses(nodes: readonly MutableObject[]): readonly MutableObject[] {
    return nodes.flatMap((node) => {
      const name = String(node['host']);
      if (isAddress(name)) return [node];
      const host = resolve(name);
      return host === undefined ? [] : [{ ...node, host, domain: name }];
    });
  }

  return {
    shown(item) {
      const { key, createdIndex, modifiedIndex } = item;
      const value = encodable(copyOf(item, item.value).value);
      return { key, value, createdIndex, modifiedIndex, clean_handlers: {} };
    },

    used(holder, stored) {
      const copy = copyOf(holder, stored);
      const { value } = copy;
      const written = value['dns_nodes'] ?? value['nodes'];
      if (!hasName({ nodes: written })) return withNodeDefaults(value);
      const nodes = withAddresses(nodesIn({ nodes: written }));
      if (!resolvesIntoNodes(copy.version)) copy.resolved ??= { ...value, nodes: [] };
      const target = copy.resolved ?? value;
      const before = nodesIn(target).length === 0 ? [] : (target['original_nodes'] ?? target['nodes']);
      if (!haveSamePlaces(nodesIn({ nodes: before }), nodes)) target['nodes'] = nodes;
      return withNodeDefaults(target);
    },

    picked(used) {
      const [node, ...others] = nodesIn(used);
      if (node === undefined || others.length > 0) return;
      if (used['type'] === 'least_conn' && !picksLoneLeastConnNode(version())) return;
      node['upstream_host'] = hostAndPort(node, String(used['scheme']));
    },
  };
}

/** The name or address of a node, with its port unless it is the standard one. */
export function hostAndPort(node: JsonObject, scheme: string): string {
  const host = String(node['domain'] ?? node['host']);
  return node['port'] === DEFAULT_PORTS[scheme] ? host : `${host}:${node['port']}`;
}

/** Adds all defaults, and converts `nodes` to an array. */
function withDefaults(stored: JsonObject): JsonObject {
  const checked = checkSchema('upstreams', stored);
  const value = checked.ok ? checked.value : stored;
  const { nodes } = value;
  if (!isObject(nodes)) return value;
  const listed = Object.entries(nodes).map(([address, weight]) => ({ ...parseNodeAddress(address), weight }));
  return { ...value, nodes: listed };
}

/** Adds a port and a priority to every node, once per list of nodes. */
function withNodeDefaults(value: MutableObject): JsonObject {
  const nodes = nodesIn(value);
  if (nodes.length === 0 || value['nodes_ref'] === nodes) return value;
  const lacks = (node: JsonObject) => node['port'] === undefined || node['priority'] === undefined;
  if (nodes.some(lacks)) {
    const defaults = { port: DEFAULT_PORTS[String(value['scheme'])] ?? 80, priority: 0 };
    value['original_nodes'] = nodes.map((node) => ({ ...node }));
    value['nodes'] = nodes.map((node) => (lacks(node) ? { ...defaults, ...node } : node));
  }
  value['nodes_ref'] = value['nodes'];
  return value;
}

/** An empty table that a worker created itself, not from JSON, is encoded as an object. */
function encodable(value: JsonObject): JsonObject {
  const isEmptied = 'dns_nodes' in value && nodesIn(value).length === 0;
  return isEmptied ? { ...value, nodes: {} } : value;
}

function nodesIn({ nodes }: JsonObject): readonly MutableObject[] {
  return Array.isArray(nodes) ? (nodes as readonly MutableObject[]) : [];
}

function hasName(value: JsonObject): boolean {
  return nodesIn(value).some((node) => !isAddress(String(node['host'])));
}

function isAddress(host: string): boolean {
  return isIP(host) !== 0 || isIPv6(/^\[(.*)\]$/.exec(host)?.[1] ?? '');
}

function haveSamePlaces(before: readonly JsonObject[], after: readonly JsonObject[]): boolean {
  const places = (nodes: readonly JsonObject[]) =>
    nodes.map(({ host, port, weight, domain }) => [host, port, weight, domain]);
  return isDeepStrictEqual(places(before), places(after));
}
