import * as http from 'node:http';
import * as https from 'node:https';
import { pipeline } from 'node:stream';
import { type BalancedNode, type Balancer, createBalancer } from './balancer.ts';
import { nginxPage, nginxPath } from './nginx-uri.ts';
import { isObject } from './schema.ts';
import type { JsonObject, StoredItem, StoreReader } from './store.ts';
import { hostAndPort, type Worker } from './worker.ts';

export interface DataPlane {
  handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void>;
  /** Closes idle connections to nodes. */
  close(): void;
}

const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const BALANCER_TYPES = ['roundrobin', 'chash', 'ewma', 'least_conn'];

/** `next`: the request can be sent to another node. `failed`: it cannot, and there is no response. */
type Outcome = 'done' | 'next' | 'failed';

interface Target {
  /** The upstream in the worker's form. */
  readonly upstream: JsonObject;
  readonly nodes: readonly BalancedNode[];
  readonly balancer: Balancer;
}

/**
 * Proxies HTTP requests with the routes in `store`. Every balancer type uses round robin. Timeouts, health checks, plugins
 * and `vars` are not modeled.
 */
export function createDataPlane(store: StoreReader, worker: Worker, serverHeader: () => string): DataPlane {
  const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };
  // A worker creates a new balancer when the object with the upstream or the addresses of its names change.
  const targets = new WeakMap<object, Target>();

  function targetOf(item: StoredItem, stored: JsonObject): Target {
    const upstream = worker.used(item, stored);
    const listed: unknown = upstream['nodes'];
    const key = Array.isArray(listed) ? listed : item;
    const known = targets.get(key);
    if (known !== undefined) return known;
    const nodes = balancedNodes(upstream);
    const target = { upstream, nodes, balancer: createBalancer(nodes) };
    targets.set(key, target);
    return target;
  }

  function refuse(response: http.ServerResponse, status: number, body = nginxPage(status)): void {
    const contentType = body.startsWith('{') ? 'application/json' : 'text/html; charset=utf-8';
    response.writeHead(status, { server: serverHeader(), 'content-type': contentType });
    response.end(body);
  }

  async function handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const found = findUpstream(store, request);
    if ('status' in found) return refuse(response, found.status, found.body);
    const { upstream, nodes, balancer } = targetOf(found.item, found.upstream);
    if (nodes.length === 0) return refuse(response, 503);
    worker.picked(upstream);
    // A single node needs no balancer, so an unknown type has no effect.
    if (nodes.length > 1 && !BALANCER_TYPES.includes(String(upstream['type']))) return refuse(response, 500);

    const attempts = 1 + (typeof upstream['retries'] === 'number' ? upstream['retries'] : nodes.length - 1);
    const tried = new Set<string>();
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const node = balancer.next(tried);
      if (node === undefined) break;
      tried.add(node.address);
      const outcome = await forward(request, response, { upstream, node, freshConnection: false });
      if (outcome === 'done') return;
      if (outcome === 'failed') break;
    }
    refuse(response, 502);
  }

  function forward(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    target: {
      readonly upstream: JsonObject;
      readonly node: BalancedNode;
      readonly freshConnection: boolean;
    },
  ): Promise<Outcome> {
    const { upstream, node } = target;
    const secure = upstream['scheme'] === 'https';
    const hasBody =
      request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
    const repeatable = !hasBody && !['POST', 'PATCH', 'LOCK'].includes(request.method ?? '');
    // The node may close a kept connection while the request is sent, so only repeatable requests use one.
    const kept = repeatable && !target.freshConnection;
    const outgoing = (secure ? https : http).request({
      host: node.host.replace(/^\[|\]$/g, ''),
      port: node.port,
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      headers: { ...endToEnd(request.headers), host: hostHeader(request, upstream, node) },
      agent: kept ? agents[secure ? 'https' : 'http'] : false,
      ...(secure ? { rejectUnauthorized: false } : {}),
    });
    return new Promise((resolve) => {
      let connected = false;
      let settled = false;
      const settle = (outcome: Outcome | Promise<Outcome>) => {
        settled = true;
        response.off('close', onClientGone);
        resolve(outcome);
      };
      const onClientGone = () => {
        settle('done');
        outgoing.destroy();
      };
      response.once('close', onClientGone);
      outgoing.on('error', () => {
        if (settled) return;
        if (outgoing.reusedSocket) settle(forward(request, response, { ...target, freshConnection: true }));
        else settle(repeatable || !connected ? 'next' : 'failed');
      });
      outgoing.on('response', (incoming) => {
        if (settled) return;
        settle('done');
        response.writeHead(incoming.statusCode ?? 502, {
          ...endToEnd(incoming.headers),
          server: serverHeader(),
        });
        pipeline(incoming, response, (error) => {
          if (error) outgoing.destroy();
        });
      });
      if (!hasBody) {
        outgoing.end();
        return;
      }
      outgoing.on('socket', (socket) => {
        socket.once(secure ? 'secureConnect' : 'connect', () => {
          connected = true;
          request.pipe(outgoing);
        });
      });
    });
  }

  return {
    handle,
    close() {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

type Found =
  | { readonly item: StoredItem; readonly upstream: JsonObject }
  | { readonly status: number; readonly body?: string };

function findUpstream(store: StoreReader, request: http.IncomingMessage): Found {
  const route = matchRoute(store, request);
  if (route === undefined) return { status: 404, body: JSON.stringify({ error_msg: '404 Route Not Found' }) };
  const serviceId = route.value['service_id'];
  const service = serviceId === undefined ? undefined : store.get('services', String(serviceId));
  if (serviceId !== undefined && service === undefined) return { status: 404 };
  for (const holder of [route, service]) {
    if (holder === undefined) continue;
    const id = holder.value['upstream_id'];
    if (id !== undefined) {
      const item = store.get('upstreams', String(id));
      return item === undefined ? { status: 502 } : { item, upstream: item.value };
    }
    const inline = holder.value['upstream'];
    if (isObject(inline)) return { item: holder, upstream: inline };
  }
  return { status: 503 };
}

/** Order: host before path, exact before pattern, long before short, then `priority`, then age. */
function matchRoute(store: StoreReader, request: http.IncomingMessage): StoredItem | undefined {
  const path = nginxPath(request.url ?? '/') ?? '';
  const host = (request.headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
  const matches = store
    .list('routes')
    .filter(({ value }) => value['status'] !== 0)
    .filter(({ value }) => !Array.isArray(value['methods']) || value['methods'].includes(request.method))
    .flatMap((route) => {
      const byHost = bestMatch(hostsOf(store, route.value), host, 'leading *');
      const byPath = bestMatch(stringsOf(route.value['uris'] ?? route.value['uri']), path, 'trailing *');
      if (byHost === undefined || byPath === undefined) return [];
      const priority = Number(route.value['priority'] ?? 0);
      return [{ route, rank: [byHost, byPath, priority, -route.createdIndex] }];
    })
    .toSorted((a, b) => {
      const at = a.rank.findIndex((part, index) => part !== b.rank[index]);
      return (b.rank[at] ?? 0) - (a.rank[at] ?? 0);
    });
  return matches[0]?.route;
}

function hostsOf(store: StoreReader, route: JsonObject): readonly string[] {
  const own = route['hosts'] ?? route['host'];
  const ofService = store.get('services', String(route['service_id'] ?? ''))?.value['hosts'];
  return stringsOf(own ?? ofService ?? '*').map((host) => host.toLowerCase());
}

/** The rank of the best matching pattern; undefined if none matches. */
function bestMatch(
  patterns: readonly string[],
  text: string,
  wildcard: 'leading *' | 'trailing *',
): number | undefined {
  const ranks = patterns.flatMap((pattern) => {
    if (pattern === text) return [Number.POSITIVE_INFINITY];
    const fixed = wildcard === 'leading *' ? pattern.replace(/^\*/, '') : pattern.replace(/\*$/, '');
    if (fixed === pattern) return [];
    const fits = wildcard === 'leading *' ? text.endsWith(fixed) : text.startsWith(fixed);
    return fits ? [fixed.length] : [];
  });
  return ranks.length === 0 ? undefined : Math.max(...ranks);
}

function stringsOf(value: unknown): readonly string[] {
  return (Array.isArray(value) ? value : [value]).filter((each) => typeof each === 'string');
}

function balancedNodes(upstream: JsonObject): readonly BalancedNode[] {
  const nodes = new Map<string, BalancedNode>();
  for (const node of Array.isArray(upstream['nodes']) ? upstream['nodes'].filter(isObject) : []) {
    const host = String(node['host']);
    const port = Number(node['port'] ?? 80);
    const address = `${host}:${port}`;
    const weight = Number(node['weight']);
    const name = hostAndPort({ ...node, port }, String(upstream['scheme']));
    nodes.set(address, { address, host, port, name, weight, priority: Number(node['priority'] ?? 0) });
  }
  return [...nodes.values()];
}

function hostHeader(request: http.IncomingMessage, upstream: JsonObject, node: BalancedNode): string {
  if (upstream['pass_host'] === 'rewrite') return String(upstream['upstream_host']);
  if (upstream['pass_host'] === 'node') return node.name;
  return request.headers.host ?? node.address;
}

function endToEnd(headers: http.IncomingHttpHeaders): http.OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name)));
}
