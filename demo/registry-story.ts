import { type ConsulRegistration, ConsulServer } from '../test/support/registries/consul-server.ts';
import {
  curatorData,
  ZOOKEEPER_READER,
  ZooKeeperServer,
} from '../test/support/registries/zookeeper-server.ts';
import { type Demo, NODES, object, startServer } from './stage.ts';
import { note, show, step } from './terminal.ts';

/** The name of the ServiceRegistry for most of the story. */
const REGISTRY = 'consul';
/** The names of all ServiceRegistries. */
export const REGISTRIES: readonly string[] = [REGISTRY, 'zookeeper'];

const SERVICE = 'orders';
const UPSTREAM = 'default.orders';
const NODE_PORT = 30_090;
/** HTTP servers of the demo act as virtual machines there. */
const MACHINES = { 'vm-1': '127.0.0.11', 'vm-2': '127.0.0.12' } as const;
const MACHINE_PORT = 9000;
const REQUESTS = 40;

type Machine = keyof typeof MACHINES;

/** Moves a service from virtual machines that register in Consul to Kubernetes. */
export async function registryStory(demo: Demo, cleanup: AsyncDisposableStack): Promise<void> {
  for (const [name, host] of Object.entries(MACHINES))
    cleanup.use(await startServer(name, host, MACHINE_PORT));
  for (const host of Object.values(NODES)) cleanup.use(await startServer(`Pod on ${host}`, host, NODE_PORT));

  step('A real Consul server, in which two virtual machines register');
  const consul = cleanup.use(await ConsulServer.start());
  show(`Consul ${consul.url.href}`);
  const machines = new Machines(consul);
  await machines.write({ 'vm-1': {}, 'vm-2': {} });
  await demo.apply(
    object(
      'ServiceRegistry',
      REGISTRY,
      `  type: Consul
  consul: { servers: ["${consul.url.origin}"] }
  allowedNamespaces: { all: true }
  # The virtual machines of this demo are on loopback, which is denied by default.
  addresses: { allow: [127.0.0.0/8] }`,
    ),
  );

  step('An upstream that follows a service in Consul');
  await demo.apply(upstream([{ weight: 100, of: 'consul' }]));
  await demo.arrives(UPSTREAM, (nodes) => nodes?.length === 2);
  await demo.route('orders', '/orders', UPSTREAM);
  await demo.requests('/orders', REQUESTS);
  await demo.ready(SERVICE);
  await demo.kubectl('get serviceregistries,gatewayupstreams');

  step('Weights, failed health checks and maintenance in Consul');
  await machines.write({ 'vm-1': { weights: { Passing: 3, Warning: 1 } } });
  await demo.arrives(UPSTREAM, (nodes) => new Set(nodes?.map(weightOf)).size === 2);
  await demo.requests('/orders', REQUESTS);
  await machines.write({ 'vm-1': { status: 'critical' } });
  await demo.arrives(UPSTREAM, (nodes) => nodes?.length === 1);
  await demo.requests('/orders', REQUESTS);
  await machines.write({ 'vm-1': {}, 'vm-2': { status: 'maintenance' } });
  await demo.arrives(UPSTREAM, (nodes) => nodes?.length === 1 && nodes.every(isOn('vm-1')));
  await machines.write({ 'vm-2': {} });
  await demo.arrives(UPSTREAM, (nodes) => nodes?.length === 2);

  step('Traffic moves by weight from the virtual machines to a Service');
  await createService(demo);
  for (const percent of [10, 50, 100]) {
    const before = demo.nodes(UPSTREAM)?.join();
    await demo.apply(moved(percent));
    await demo.arrives(UPSTREAM, (nodes) => nodes?.join() !== before);
    await demo.requests('/orders', REQUESTS);
  }
  note('-- back to half, for the next step');
  await demo.apply(moved(50));
  await demo.arrives(UPSTREAM, (nodes) => nodes?.length === 4 && nodes.every((node) => weightOf(node) > 0));

  step('Consul fails, restarts empty, and the virtual machines register again');
  await consul.kill();
  note('Consul is down');
  await demo.kubectl(`wait --for=condition=ResolvedRefs=unknown gwu/${SERVICE} --timeout=30s`);
  await demo.kubectl(`describe gatewayupstream ${SERVICE}`, {
    only: /Reason:\s+Source|Message:\s+ServiceReg/,
  });
  await demo.requests('/orders', REQUESTS);
  note(
    '-- a node of the cluster fails meanwhile: only the Service changes, the virtual machines keep their share',
  );
  await demo.node('node-2', NODES['node-2'], 'False');
  await demo.arrives(UPSTREAM, (nodes) => nodes?.length === 3);
  await demo.requests('/orders', REQUESTS);
  note('-- Consul restarts without its content: the removal guard keeps the virtual machines');
  await consul.start();
  await demo.kubectl(`wait --for=condition=RemovalHeld gwu/${SERVICE} --timeout=30s`);
  await demo.requests('/orders', REQUESTS);
  await machines.write({ 'vm-1': {}, 'vm-2': {} });
  await demo.kubectl(`wait --for=condition=Ready gwu/${SERVICE} --timeout=30s`);
  await demo.kubectl(`get gatewayupstream ${SERVICE}`);

  step('The move is complete: the upstream refers to the Service only');
  await demo.apply(upstream([{ weight: 100, of: 'service' }]));
  await demo.arrives(UPSTREAM, (nodes) => nodes?.length === 1);
  await machines.write({ 'vm-1': undefined, 'vm-2': undefined });
  await demo.requests('/orders', REQUESTS);
  await zooKeeperStory(demo, cleanup);
}

/** A service with Spring Cloud on the same virtual machines. */
async function zooKeeperStory(demo: Demo, cleanup: AsyncDisposableStack): Promise<void> {
  step('A real ZooKeeper server, in which a Spring Cloud service registers');
  const zookeeper = cleanup.use(await ZooKeeperServer.start());
  show(`ZooKeeper ${zookeeper.address}`);
  const register = async (statuses: Readonly<Record<Machine, 'UP' | 'OUT_OF_SERVICE'>>) => {
    const entries = Object.entries(statuses).map(([name, status]) => {
      note(`zookeeper: ${name} ${status}`);
      const address = MACHINES[name as Machine];
      return [name, curatorData('carts', { address, port: MACHINE_PORT, status })] as const;
    });
    await zookeeper.writer.replace('/services/carts', new Map(entries));
  };
  await register({ 'vm-1': 'UP', 'vm-2': 'UP' });
  const { username, password } = ZOOKEEPER_READER;
  const literals = `--from-literal=username=${username} --from-literal=password=${password}`;
  await demo.kubectl(`-n gateway-upstream-system create secret generic zookeeper ${literals}`);
  await demo.apply(
    object(
      'ServiceRegistry',
      'zookeeper',
      `  type: ZooKeeper
  zookeeper:
    servers: ["${zookeeper.address}"]
    usernameSecretRef: { name: zookeeper }
    passwordSecretRef: { name: zookeeper }
  allowedNamespaces: { all: true }
  addresses: { allow: [127.0.0.0/8] }`,
    ),
  );
  await demo.apply(
    object(
      'GatewayUpstream',
      'carts',
      '  backends:\n  - { registryRef: { name: zookeeper }, service: carts }',
    ),
  );
  await demo.arrives('default.carts', (nodes) => nodes?.length === 2);
  await demo.route('carts', '/carts', 'default.carts');
  await demo.requests('/carts', REQUESTS);
  await register({ 'vm-1': 'UP', 'vm-2': 'OUT_OF_SERVICE' });
  await demo.arrives('default.carts', (nodes) => nodes?.length === 1);
  await demo.requests('/carts', REQUESTS);
  await demo.ready('carts');
  await demo.kubectl('get serviceregistries,gatewayupstreams');
}

/** The registrations of the virtual machines. */
class Machines {
  readonly #consul: ConsulServer;
  readonly #registered = new Map<string, ConsulRegistration>();

  constructor(consul: ConsulServer) {
    this.#consul = consul;
  }

  /** Registers machines with these properties, in place of their earlier ones. Undefined deregisters a machine. */
  async write(changes: Partial<Record<Machine, Partial<ConsulRegistration> | undefined>>): Promise<void> {
    for (const [name, change] of Object.entries(changes)) {
      if (change === undefined) this.#registered.delete(name);
      else {
        this.#registered.set(name, {
          id: name,
          address: MACHINES[name as Machine],
          port: MACHINE_PORT,
          status: 'passing',
          ...change,
        });
      }
      const what = change === undefined ? 'deregistered' : `registered, passing${propertiesOf(change)}`;
      note(`consul: ${name} ${what}`);
    }
    await this.#consul.register(SERVICE, [...this.#registered.values()]);
  }
}

function propertiesOf({ status, weights }: Partial<ConsulRegistration>): string {
  return `${status === undefined ? '' : `, then ${status}`}${weights === undefined ? '' : `, weight ${weights.Passing}`}`;
}

async function createService(demo: Demo): Promise<void> {
  for (const [name, address] of Object.entries(NODES)) await demo.node(name, address);
  await demo.apply(`
apiVersion: v1
kind: Service
metadata: { name: ${SERVICE} }
spec: { type: NodePort, ports: [{ name: http, port: 80, nodePort: ${NODE_PORT} }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${SERVICE}-1, labels: { kubernetes.io/service-name: ${SERVICE} } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.2.0.1] }, { addresses: [10.2.0.2] }]`);
}

interface Share {
  readonly weight: number;
  readonly of: 'consul' | 'service';
}

function upstream(shares: readonly Share[]): string {
  const backends = shares.map(({ weight, of }) =>
    of === 'consul'
      ? `  - { weight: ${weight}, registryRef: { name: ${REGISTRY} }, service: ${SERVICE} }`
      : `  - { weight: ${weight}, serviceRef: { name: ${SERVICE}, port: http }, addressing: { mode: Node } }`,
  );
  return object('GatewayUpstream', SERVICE, `  backends:\n${backends.join('\n')}`);
}

/** The upstream after `percent` of the traffic has moved to the Service. */
function moved(percent: number): string {
  return upstream([
    { weight: 100 - percent, of: 'consul' },
    { weight: percent, of: 'service' },
  ]);
}

function isOn(machine: Machine): (node: string) => boolean {
  return (node) => node.startsWith(`${MACHINES[machine]}:`);
}

/** The weight in `host:port weight n`. */
function weightOf(node: string): number {
  return Number(/weight (\d+)$/.exec(node)?.[1]);
}
