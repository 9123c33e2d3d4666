import { isIP, isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { parseNodeAddress } from './node-address.ts';
import { checkSchema, isObject } from './schema.ts';
import type { JsonObject, StoredItem } from './store.ts';
import { picksLoneLeastConnNode, resolvesIntoNodes } from './versions.ts';

/** Standard ports by scheme; a worker leaves them out of `upstream_host`. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443, grpc: 80, grpcs: 443 };

type MutableObject = Record<string, unknown>;

export interface WorkerOptions {
  readonly version: () => string;
  /** The address of a name; undefined: the name does not resolve. */
  readonly resolve: (name: string) => string | undefined;
}

/**
 * One worker's own copy of every upstream. Requests change that copy, and the Control API shows it (APISIX 3.18,
 * measured; other versions by source). Not modeled: up to 3.13 a worker that has resolved a name cannot encode its
 * answer, which then holds a cycle, and responds 500.
 */
export interface Worker {
  /** What the Control API shows of an upstream. */
  shown(item: StoredItem): JsonObject;
  /** The upstream that a request uses. `holder` is what is stored with `stored` in it: an upstream, a route or a service. */
  used(holder: StoredItem, stored: JsonObject): JsonObject;
  /** The request picks a node of `used`. */
  picked(used: JsonObject): void;
}

interface Copy {
  readonly version: string;
  readonly value: MutableObject;
  /** Up to 3.13: `value` with addresses instead of names. */
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

  /** A node that is an address stays the same object, so that what a request adds to it shows in `dns_nodes` too. */
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

/** The name or address of a node and its port, which is left out where it is the standard one. */
export function hostAndPort(node: JsonObject, scheme: string): string {
  const host = String(node['domain'] ?? node['host']);
  return node['port'] === DEFAULT_PORTS[scheme] ? host : `${host}:${node['port']}`;
}

/** With every default, and `nodes` as an array. */
function withDefaults(stored: JsonObject): JsonObject {
  const checked = checkSchema('upstreams', stored);
  const value = checked.ok ? checked.value : stored;
  const { nodes } = value;
  if (!isObject(nodes)) return value;
  const listed = Object.entries(nodes).map(([address, weight]) => ({ ...parseNodeAddress(address), weight }));
  return { ...value, nodes: listed };
}

/** Gives every node a port and a priority, once for each list of nodes. */
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

/** A table without members that a worker made itself, and not from JSON, is an object. */
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
