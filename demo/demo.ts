import { createServer, type Server } from 'node:http';
import { parseArgs } from 'node:util';
import { type StandIn, startStandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../test/support/control-plane/control-plane.ts';
import { eventually } from '../test/support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../test/support/operator.ts';
import { writeSecret } from '../test/support/workload.ts';

/** Shows the operator in a terminal, with a real control plane and a stand-in for the gateway. */

const CONNECTION = 'default';

const color = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint = (code: number, text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text);

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

let steps = 0;

function step(title: string): void {
  steps += 1;
  print(`\n${paint(1, `${steps}. ${title}`)}`);
}

function show(text: string): void {
  for (const line of text.trimEnd().split('\n')) print(`   ${line}`);
}

const note = (text: string) => show(paint(2, text));

interface GatewayNode {
  readonly host: string;
  readonly port: number;
  readonly weight: number;
}

/** Accepts `host:port weight n` of every node, or undefined if the upstream does not exist. */
type Expectation = (nodes: readonly string[] | undefined) => boolean;

class Demo {
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

const object = (kind: string, name: string, spec: string) =>
  `apiVersion: gatewayupstream.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec:\n${spec}`;

const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

const slice = (service: string, addresses: readonly string[], conditions: object = { ready: true }) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${service}-1`, labels: { 'kubernetes.io/service-name': service } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  endpoints: addresses.map((address) => ({ addresses: [address], conditions })),
});

/** The addresses of the nodes. HTTP servers of the demo act as kube-proxy there. */
const NODES = { 'node-1': '127.0.0.2', 'node-2': '127.0.0.3' } as const;

const SHOP = [
  { name: 'stable', nodePort: 30080 },
  { name: 'canary', nodePort: 30081 },
] as const;

async function story(demo: Demo): Promise<void> {
  step('A database outside the cluster, with endpoints written by hand');
  await demo.apply(`
apiVersion: v1
kind: Service
metadata: { name: plat-dev }
spec: { ports: [{ name: port, port: 3306 }] }
---
apiVersion: v1
kind: Endpoints
metadata: { name: plat-dev }
subsets:
- addresses: [{ ip: 10.5.10.109 }, { ip: 10.5.10.110 }]
  ports: [{ name: port, port: 3306 }]
---
${object('GatewayUpstream', 'plat-dev', '  scheme: TCP\n  backends: [{ serviceName: "default/plat-dev:port" }]')}`);
  await demo.arrives('default.plat-dev', (nodes) => nodes?.length === 2);

  step('A Service with changing endpoints');
  await demo.apply(`
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { ports: [{ name: http, port: 80 }] }
---
${object('GatewayUpstream', 'web', '  backends: [{ serviceRef: { name: web, port: http } }]')}`);
  await demo.arrives('default.web', (nodes) => nodes?.length === 0);
  const web = (title: string, addresses: readonly string[]) => {
    note(`-- ${title}`);
    const count = addresses.length;
    return demo.change(
      'PUT',
      `${SLICES}/web-1`,
      slice('web', addresses),
      'default.web',
      (nodes) =>
        nodes?.length === count &&
        addresses.every((address) => nodes.some((node) => node.startsWith(`${address}:`))),
    );
  };
  note('-- two endpoints');
  await demo.change(
    'POST',
    SLICES,
    slice('web', ['10.1.0.1', '10.1.0.2']),
    'default.web',
    (nodes) => nodes?.length === 2,
  );
  await web('scaled up to four', ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4']);
  await web('one endpoint fails', ['10.1.0.1', '10.1.0.3', '10.1.0.4']);
  await web('all endpoints replaced', ['10.1.9.1', '10.1.9.2']);
  note('-- scaled to zero: the upstream stays, because routes refer to its id');
  await demo.change(
    'PUT',
    `${SLICES}/web-1`,
    slice('web', ['10.1.9.1', '10.1.9.2'], { ready: false, serving: false, terminating: true }),
    'default.web',
    (nodes) => nodes?.length === 0,
  );
  note('-- scaled up again');
  await demo.change(
    'PUT',
    `${SLICES}/web-1`,
    slice('web', ['10.1.0.1', '10.1.0.2']),
    'default.web',
    (nodes) => nodes?.length === 2,
  );

  step('Status in kubectl');
  await demo.ready('web');
  await demo.ready('plat-dev');
  await demo.kubectl('get gatewayconnections,gatewayupstreams');
  await demo.kubectl('describe gatewayupstream web');

  step('Errors appear in status');
  note(
    'the API server rejects a serviceName that APISIX answers with `no valid upstream node`, and shows the correct form',
  );
  const wrong = object(
    'GatewayUpstream',
    'cms',
    '  backends: [{ serviceName: cms.default.svc.cluster.local }]',
  );
  await demo.apply(wrong).catch((error: unknown) => show(paint(33, String(error).replace(/^Error: /, ''))));
  await demo.apply(object('GatewayUpstream', 'cms', '  backends: [{ serviceName: "default/cms:http" }]'));
  await demo.kubectl('wait --for=condition=Ready=false gwu/cms --timeout=30s');
  await demo.kubectl('get gatewayupstream cms -o wide');
  await demo.kubectl('describe gatewayupstream cms', { only: /^\s+Message:\s+Service/ });

  step('A gateway outside the cluster: requests through NodePorts, and a canary');
  for (const [name, address] of Object.entries(NODES)) await demo.node(name, address);
  for (const { name, nodePort } of SHOP) {
    await demo.apply(`
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { type: NodePort, ports: [{ name: http, port: 80, nodePort: ${nodePort} }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}-1, labels: { kubernetes.io/service-name: ${name} } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.2.0.1] }, { addresses: [10.2.0.2] }, { addresses: [10.2.0.3] }]`);
  }
  const shop = (percent: number) =>
    object(
      'GatewayUpstream',
      'shop',
      `  backends:
  - { weight: ${100 - percent}, serviceRef: { name: stable, port: http }, addressing: { mode: Node } }
  - { weight: ${percent}, serviceRef: { name: canary, port: http }, addressing: { mode: Node } }`,
    );
  await demo.apply(shop(0));
  await demo.arrives('default.shop', (nodes) => nodes?.length === 2);
  await demo.route('shop', '/shop', 'default.shop');
  await demo.requests('/shop', 40);
  for (const percent of [10, 50, 100]) {
    const before = demo.nodes('default.shop')?.join();
    await demo.apply(shop(percent));
    await demo.arrives('default.shop', (nodes) => nodes?.join() !== before);
    await demo.requests('/shop', 40);
  }
  note('-- node-2 becomes not ready');
  await demo.node('node-2', NODES['node-2'], 'False');
  await demo.arrives('default.shop', (nodes) => nodes?.length === 1);
  await demo.requests('/shop', 40);

  step('A deletion waits while a route refers to the upstream');
  await demo.kubectl('delete gatewayupstream shop --wait=false');
  await demo.kubectl('wait --for=condition=Programmed=false gwu/shop --timeout=30s');
  await demo.kubectl('describe gatewayupstream shop', { only: /route \[/ });
  await demo.unroute('shop');
  await demo.arrives('default.shop', (nodes) => nodes === undefined);
}

/** Starts the server for the NodePort of a Service on one node. */
function startNodePort(service: string, nodePort: number, host: string): Promise<Server> {
  const server = createServer((_, response) => response.end(`${service} on ${host}\n`));
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(nodePort, host, () => resolve(server));
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
  const began = performance.now();
  await using cleanup = new AsyncDisposableStack();

  step('A real Kubernetes control plane, and a stand-in for Apache APISIX');
  const cluster = cleanup.use(await startControlPlane({ report: (line) => show(line) }));
  const gateway = cleanup.use(await startStandIn());
  show(`API server ${cluster.server}, Admin API ${gateway.adminUrl}, data plane ${gateway.proxyUrl}`);

  step('CRDs, RBAC, and the operator with its ServiceAccount token');
  await installCrds(cluster);
  const namespace = 'gateway-upstream-system';
  await cluster.kubectl(['create', 'namespace', namespace]);
  const token = await installRbac(cluster, namespace, [], { watchNodes: true });
  await writeSecret(cluster, namespace, 'apisix-admin', { 'admin-key': gateway.adminKey });
  const operator: Operator = cleanup.use(
    await startOperator(cluster, namespace, token, { logLevel: 'info', watchNodes: true }),
  );
  await operator.ready();
  show('the operator is ready');

  const demo = new Demo(cluster, gateway);
  await demo.apply(
    object(
      'GatewayConnection',
      CONNECTION,
      `  type: APISIX
  apisix:
    adminUrl: ${gateway.adminUrl}
    adminKeySecretRef: { name: apisix-admin }
  allowedNamespaces: { all: true }
  # The nodes of this demo are on loopback, which is denied by default.
  addresses: { allow: [127.0.0.0/8] }`,
    ),
  );
  await demo.kubectl(`wait --for=condition=Ready gwc/${CONNECTION} --timeout=30s`);

  for (const { name, nodePort } of SHOP) {
    for (const host of Object.values(NODES)) {
      const server = await startNodePort(name, nodePort, host);
      cleanup.defer(() => {
        server.close();
      });
    }
  }
  await story(demo);
  print(`\n${paint(32, `Done in ${((performance.now() - began) / 1000).toFixed(0)} s.`)}`);

  if (values.keep) {
    print(`
The demo keeps running. In another terminal:

  export KUBECONFIG=${cluster.kubeconfig}
  ${cluster.binaries.kubectl} get gatewayupstreams -A
  curl -H 'X-API-KEY: ${gateway.adminKey}' ${gateway.adminUrl}/apisix/admin/upstreams

Press Ctrl-C to stop and clean up.`);
    await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()));
    return;
  }
}

await main();
process.exit(0);
