import type { Demo } from './stage.ts';
import { NODES, object, startServer } from './stage.ts';
import { note, paint, show, step } from './terminal.ts';

const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

const slice = (service: string, addresses: readonly string[], conditions: object = { ready: true }) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${service}-1`, labels: { 'kubernetes.io/service-name': service } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  endpoints: addresses.map((address) => ({ addresses: [address], conditions })),
});

const SHOP = [
  { name: 'stable', nodePort: 30080 },
  { name: 'canary', nodePort: 30081 },
] as const;

/** Starts the servers for the NodePorts. They stop with `cleanup`. */
async function startNodePorts(cleanup: AsyncDisposableStack): Promise<void> {
  for (const { name, nodePort } of SHOP) {
    for (const host of Object.values(NODES))
      cleanup.use(await startServer(`${name} on ${host}`, host, nodePort));
  }
}

/** A gateway that follows Services. */
export async function kubernetesStory(demo: Demo, cleanup: AsyncDisposableStack): Promise<void> {
  await startNodePorts(cleanup);
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
