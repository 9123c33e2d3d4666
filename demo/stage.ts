import { once } from 'node:events';
import { createServer } from 'node:http';
import type { StandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import type { ControlPlane } from '../test/support/control-plane/control-plane.ts';
import { eventually } from '../test/support/eventually.ts';
import { note, paint, show } from './terminal.ts';

interface GatewayNode {
  readonly host: string;
  readonly port: number;
  readonly weight: number;
}

/** Accepts `host:port weight n` of every node, or undefined if the upstream does not exist. */
type Expectation = (nodes: readonly string[] | undefined) => boolean;

/** The cluster and the gateway. Its methods show what they do. */
export class Demo {
  readonly #cluster: ControlPlane;
  readonly #gateway: StandIn;

  constructor(cluster: ControlPlane, gateway: StandIn) {
    this.#cluster = cluster;
    this.#gateway = gateway;
  }

  /** Runs kubectl and shows the command and its output. */
  async kubectl(
    args: string,
    options: { readonly input?: string; readonly only?: RegExp } = {},
  ): Promise<void> {
    note(`$ kubectl ${args}`);
    const output = await this.#cluster.kubectl(
      args.split(' '),
      options.input === undefined ? {} : { input: options.input },
    );
    const { only } = options;
    show(
      only === undefined
        ? output
        : output
            .split('\n')
            .filter((line) => only.test(line))
            .join('\n'),
    );
  }

  async apply(yaml: string): Promise<void> {
    await this.kubectl('apply -f -', { input: yaml });
  }

  nodes(id: string): readonly string[] | undefined {
    const value = this.#gateway.get('upstreams', id) as
      | { readonly nodes: readonly GatewayNode[] }
      | undefined;
    return value?.nodes.map(({ host, port, weight }) => `${host}:${port} weight ${weight}`);
  }

  /**
   * Sends a change to the API server, and shows the time from its response until the gateway has the expected nodes.
   * Does not use kubectl, which takes longer to exit than the operator takes to write.
   */
  async change(
    method: 'PUT' | 'POST',
    path: string,
    body: object,
    id: string,
    expected: Expectation,
  ): Promise<void> {
    note(`${method} ${path}`);
    const { status, body: answer } = await this.#cluster.request(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    await this.arrives(id, expected);
  }

  /** Waits until the gateway has the expected nodes, and shows them with the elapsed time. */
  async arrives(id: string, expected: Expectation): Promise<void> {
    const since = performance.now();
    await eventually(
      () => {
        if (!expected(this.nodes(id)))
          throw new Error(`upstream ${id} has ${JSON.stringify(this.nodes(id))}`);
      },
      { intervalMs: 1 },
    );
    const took = (performance.now() - since).toFixed(0);
    const nodes = this.nodes(id);
    const now =
      nodes === undefined
        ? `upstream ${id} is deleted`
        : `upstream ${id}: ${nodes.length === 0 ? 'no nodes' : nodes.join(', ')}`;
    show(paint(32, `${now} (${took} ms later)`));
  }

  /** Creates a node or updates its status, like its kubelet. */
  async node(name: string, address: string, ready: 'True' | 'False' = 'True'): Promise<void> {
    await this.#cluster.request('POST', '/api/v1/nodes', { metadata: { name } });
    const { status } = await this.#cluster.request('PATCH', `/api/v1/nodes/${name}/status`, {
      status: {
        conditions: [{ type: 'Ready', status: ready, reason: 'Demo', message: '' }],
        addresses: [{ type: 'InternalIP', address }],
      },
    });
    if (status >= 300) throw new Error(`the API server rejected the status of node ${name}: ${status}`);
    note(`node ${name} at ${address} reports Ready=${ready}`);
  }

  async ready(name: string): Promise<void> {
    await this.#cluster.kubectl(['wait', '--for=condition=Ready', `gwu/${name}`, '--timeout=30s']);
  }

  /** Sends `count` requests through the gateway, and shows which server answered how many. */
  async requests(path: string, count: number): Promise<void> {
    const answers = new Map<string, number>();
    for (let n = 0; n < count; n += 1) {
      const response = await fetch(`${this.#gateway.proxyUrl}${path}`);
      const answer = response.ok ? (await response.text()).trim() : `status ${response.status}`;
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
    const counts = [...answers].sort().map(([answer, times]) => `${answer} ${times}`);
    show(paint(36, `${count} requests to ${path} through the gateway: ${counts.join(', ')}`));
  }

  async route(id: string, uri: string, upstreamId: string): Promise<void> {
    const url = `${this.#gateway.adminUrl}/apisix/admin/routes/${id}`;
    const body = JSON.stringify({ uri, upstream_id: upstreamId });
    const headers = { 'X-API-KEY': this.#gateway.adminKey, 'Content-Type': 'application/json' };
    const response = await fetch(url, { method: 'PUT', headers, body });
    if (!response.ok) throw new Error(`the gateway rejected the route: ${await response.text()}`);
    note(`created a route in the gateway: ${uri} -> upstream ${upstreamId}`);
  }

  async unroute(id: string): Promise<void> {
    const url = `${this.#gateway.adminUrl}/apisix/admin/routes/${id}`;
    await fetch(url, { method: 'DELETE', headers: { 'X-API-KEY': this.#gateway.adminKey } });
    note(`deleted route ${id} in the gateway`);
  }
}

export const object = (kind: string, name: string, spec: string) =>
  `apiVersion: gatewayupstream.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec:\n${spec}`;

/** The addresses of the cluster's nodes. HTTP servers of the demo act as kube-proxy there. */
export const NODES = { 'node-1': '127.0.0.2', 'node-2': '127.0.0.3' } as const;

/** Starts an HTTP server that answers with its name. */
export async function startServer(name: string, host: string, port: number): Promise<AsyncDisposable> {
  const server = createServer((_, response) => response.end(`${name}\n`));
  server.listen(port, host);
  await once(server, 'listening');
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
