import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import {
  connectionPath,
  createWorkload,
  type EndpointSpec,
  type Workload,
  writeSecret,
} from '../support/workload.ts';

/** Loopback addresses of the nodes. HTTP servers of the test act as kube-proxy there. */
const NODES = { n1: '127.0.0.2', n2: '127.0.0.3' } as const;
type NodeName = keyof typeof NODES;
const BALANCER = '127.0.0.4';

describe('addressing', () => {
  let cluster: ControlPlane;
  let gateway: StandIn;
  let operatorNamespace: string;
  let operator: Operator;
  let work: Workload;
  const servers: Server[] = [];

  const start = async (switches: { readonly watchNodes?: boolean; readonly readEndpoints?: boolean }) => {
    const token = await installRbac(cluster, operatorNamespace, [], switches);
    const started = await startOperator(cluster, operatorNamespace, token, switches);
    await started.ready();
    return started;
  };
  const idOf = (name: string) => `${work.namespace}.${name}`;
  /** `host:port=weight` of every node. */
  const nodes = (name: string): readonly string[] | undefined => {
    const value = gateway.get('upstreams', idOf(name)) as
      | {
          readonly nodes: readonly {
            readonly host: string;
            readonly port: number;
            readonly weight: number;
          }[];
        }
      | undefined;
    return value?.nodes.map(({ host, port, weight }) => `${host}:${port}=${weight}`);
  };
  const holds = (name: string, ...expected: readonly string[]) =>
    eventually(() => expect(nodes(name)).toEqual(expected));
  const says = (name: string, type: string, status: string, reason: string) =>
    eventually(async () => {
      const condition = await work.condition(name, type);
      expect(condition).toMatchObject({ status, reason });
      return condition?.message ?? '';
    });
  const servicePath = (name: string) => `/api/v1/namespaces/${work.namespace}/services/${name}`;
  /** Resolves to the NodePort. */
  const nodePortService = async (name: string, spec: object = {}) => {
    await work.service(name, [{ name: 'http', port: 80 }], { type: 'NodePort', ...spec });
    const service = (await work.get(servicePath(name))) as {
      readonly spec: { readonly ports: readonly { readonly nodePort: number }[] };
    };
    return service.spec.ports[0]?.nodePort ?? 0;
  };
  const on = (address: string, nodeName: NodeName, change: Partial<EndpointSpec> = {}): EndpointSpec => ({
    address,
    nodeName,
    ready: true,
    ...change,
  });
  const upstream = (name: string, backends: readonly object[], spec: object = {}) =>
    work.upstream(name, { connectionRef: { name: 'main' }, backends, ...spec });
  const to = (name: string, addressing?: object, port: number | string = 80) => ({
    serviceRef: { name, port },
    ...(addressing === undefined ? {} : { addressing }),
  });
  /** Answers with `text`; resolves to its port. */
  const serve = async (host: string, port: number, text: string): Promise<number> => {
    const server = createServer((_, response) => response.end(text));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, host, resolve);
    });
    servers.push(server);
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  };
  const route = async (name: string) => {
    const response = await fetch(`${gateway.adminUrl}/apisix/admin/routes/${name}`, {
      method: 'PUT',
      headers: { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' },
      body: JSON.stringify({ uri: `/${name}`, upstream_id: idOf(name) }),
    });
    expect(response.ok).toBe(true);
  };
  /** Sends `count` requests through the gateway, and counts the responses of each server. */
  const requests = async (name: string, count: number): Promise<Readonly<Record<string, number>>> => {
    const answers: Record<string, number> = {};
    for (let n = 0; n < count; n += 1) {
      const response = await fetch(`${gateway.proxyUrl}/${name}`);
      const answer = response.ok ? await response.text() : `status ${response.status}`;
      answers[answer] = (answers[answer] ?? 0) + 1;
    }
    return answers;
  };
  const nodeStatus = (name: NodeName, ready: 'True' | 'False') => ({
    conditions: [{ type: 'Ready', status: ready, reason: 'Test', message: '' }],
    addresses: [{ type: 'InternalIP', address: NODES[name] }],
  });
  const setReady = (name: NodeName, ready: 'True' | 'False') =>
    work.patch(`/api/v1/nodes/${name}/status`, { status: nodeStatus(name, ready) });
  const setLabel = (name: NodeName, label: string, value: string | null) =>
    work.patch(`/api/v1/nodes/${name}`, { metadata: { labels: { [label]: value } } });

  beforeAll(async () => {
    // A separate control plane, because nodes are cluster-scoped.
    cluster = await startControlPlane();
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    gateway = await startStandIn();
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    work = createWorkload(cluster, await cluster.newNamespace('shop'));
    for (const name of Object.keys(NODES) as NodeName[]) {
      await work.create('/api/v1/nodes', {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name, labels: { 'topology.kubernetes.io/zone': `zone-${name}` } },
      });
      await setReady(name, 'True');
    }
    await work.connection('main', {
      adminUrl: gateway.adminUrl,
      secret: 'gateway',
      extra: { addressing: { mode: 'Node' }, addresses: { allow: ['127.0.0.0/8'] } },
    });
    await work.connection('strict', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    operator = await start({});
  });

  afterAll(async () => {
    for (const server of servers) server.close();
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  it('names the missing watchNodes setting, and continues when it is set', async () => {
    const port = await nodePortService('first');
    await work.endpoints('first', [on('10.0.0.1', 'n1')]);
    await upstream('first', [to('first')]);
    const message = await says('first', 'ResolvedRefs', 'Unknown', 'SourceUnavailable');
    expect(message).toContain('watchNodes');
    expect(nodes('first')).toBeUndefined();
    expect(await operator.stop()).toBe(0);
    operator = await start({ watchNodes: true, readEndpoints: true });
    await holds('first', `127.0.0.2:${port}=1`, `127.0.0.3:${port}=1`);
    await says('first', 'Ready', 'True', 'Ready');
  });

  it('shifts requests to a canary by weight in mode Node', async () => {
    const ports = { stable: await nodePortService('stable'), canary: await nodePortService('canary') };
    for (const service of ['stable', 'canary'] as const) {
      for (const host of Object.values(NODES)) await serve(host, ports[service], `${service} on ${host}`);
      await work.endpoints(service, [on('10.1.0.1', 'n1'), on('10.1.0.2', 'n1'), on('10.1.0.3', 'n2')]);
    }
    const backends = (percent: number) => [
      { ...to('stable'), weight: 100 - percent },
      { ...to('canary'), weight: percent },
    ];
    await upstream('shop', backends(0));
    const weights = (stable: number | undefined, canary: number | undefined) =>
      (['stable', 'canary'] as const)
        .flatMap((service) => {
          const weight = service === 'stable' ? stable : canary;
          return weight === undefined
            ? []
            : Object.values(NODES).map((host) => `${host}:${ports[service]}=${weight}`);
        })
        .sort();
    await holds('shop', ...weights(1, undefined));
    await route('shop');
    for (const [percent, stable, canary, expected] of [
      [0, 1, undefined, [20, 0]],
      [10, 9, 1, [18, 2]],
      [50, 1, 1, [10, 10]],
      [100, undefined, 1, [0, 20]],
    ] as const) {
      await work.patch(work.upstreamPath('shop'), { spec: { backends: backends(percent) } });
      await holds('shop', ...weights(stable, canary));
      const answers = await requests('shop', 20);
      const counted = (['stable', 'canary'] as const).map((service) =>
        Object.values(NODES).map((host) => answers[`${service} on ${host}`] ?? 0),
      );
      expect(counted.map(([a = 0, b = 0]) => a + b)).toEqual(expected);
      for (const [index, ofService] of counted.entries()) {
        if ((expected[index] ?? 0) > 0) expect(Math.min(...ofService)).toBeGreaterThan(0);
      }
    }
    expect(await work.condition('shop', 'RemovalHeld')).toBeUndefined();
  });

  it('follows cluster nodes and endpoints of a Service with externalTrafficPolicy Local', async () => {
    const port = await nodePortService('local', { externalTrafficPolicy: 'Local' });
    const n1 = `127.0.0.2:${port}=1`;
    const n2 = `127.0.0.3:${port}=1`;
    for (const [name, host] of Object.entries(NODES)) await serve(host, port, name);
    await work.endpoints('local', [on('10.2.0.1', 'n1'), on('10.2.0.2', 'n2', { ready: false })]);
    await upstream('local', [to('local')]);
    await holds('local', n1);
    await route('local');
    expect(await requests('local', 4)).toEqual({ n1: 4 });
    await work.endpoints('local', [on('10.2.0.1', 'n1'), on('10.2.0.2', 'n2')]);
    await holds('local', n1, n2);

    await setReady('n1', 'False');
    await holds('local', n2);
    expect(await requests('local', 4)).toEqual({ n2: 4 });
    await eventually(async () => {
      const { status } = (await work.get(work.upstreamPath('local'))) as {
        readonly status: { readonly excluded?: readonly object[] };
      };
      expect(status.excluded).toEqual([{ address: `127.0.0.2:${port}`, reason: 'NodeUnusable' }]);
    });
    await setReady('n1', 'True');
    await holds('local', n1, n2);

    await setLabel('n2', 'node.kubernetes.io/exclude-from-external-load-balancers', '');
    await holds('local', n1);
    await work.patch('/api/v1/nodes/n1', { spec: { unschedulable: true } });
    await setLabel('n2', 'node.kubernetes.io/exclude-from-external-load-balancers', null);
    await holds('local', n1, n2);
    expect(await requests('local', 4)).toEqual({ n1: 2, n2: 2 });

    await work.patch(servicePath('local'), { spec: { externalTrafficPolicy: 'Cluster' } });
    await work.endpoints('local', [on('10.2.0.1', 'n1')]);
    await eventually(async () => {
      const { status } = (await work.get(work.upstreamPath('local'))) as {
        readonly status: { readonly endpoints?: { readonly summary: string } };
      };
      expect(status.endpoints?.summary).toBe('1/1');
    });
    expect(nodes('local')).toEqual([n1, n2]);
  });

  it('keeps nodes that all become not ready at once, and removes nodes with an exclusion label', async () => {
    const port = await nodePortService('outage');
    await work.endpoints('outage', [on('10.3.0.1', 'n1')]);
    await upstream('outage', [to('outage')], { removalGuard: { maxRemovalPercent: 0 } });
    const both = [`127.0.0.2:${port}=1`, `127.0.0.3:${port}=1`];
    await holds('outage', ...both);
    await setReady('n1', 'False');
    await setReady('n2', 'False');
    await says('outage', 'RemovalHeld', 'True', 'RemovalHeld');
    expect(nodes('outage')).toEqual(both);
    await setReady('n1', 'True');
    await setReady('n2', 'True');
    await eventually(async () => expect(await work.condition('outage', 'RemovalHeld')).toBeUndefined());
    await setLabel('n1', 'node.kubernetes.io/exclude-from-external-load-balancers', 'yes');
    await setLabel('n2', 'node.kubernetes.io/exclude-from-external-load-balancers', 'yes');
    await holds('outage');
    expect(await work.condition('outage', 'RemovalHeld')).toBeUndefined();
    for (const name of ['n1', 'n2'] as const) {
      await setLabel(name, 'node.kubernetes.io/exclude-from-external-load-balancers', null);
    }
    await holds('outage', ...both);
  });

  it('uses the address of a load balancer as soon as it is assigned', async () => {
    const port = await serve(BALANCER, 0, 'balancer');
    await work.service('edge', [{ name: 'http', port }], { type: 'LoadBalancer' });
    await work.endpoints('edge', [on('10.4.0.1', 'n1')]);
    await upstream('edge', [to('edge', { mode: 'LoadBalancer' }, 'http')]);
    await says('edge', 'ResolvedRefs', 'False', 'NoLoadBalancerAddress');
    expect(nodes('edge')).toBeUndefined();
    await work.patch(`${servicePath('edge')}/status`, {
      status: { loadBalancer: { ingress: [{ ip: BALANCER }] } },
    });
    await holds('edge', `${BALANCER}:${port}=1`);
    await route('edge');
    expect(await requests('edge', 2)).toEqual({ balancer: 2 });
  });

  it('excludes special addresses until the connection allows them', async () => {
    await work.service('near', [{ name: 'http', port: 80 }], { type: 'LoadBalancer' });
    await work.endpoints('near', ['10.4.1.1']);
    const give = (...ingress: readonly object[]) =>
      work.patch(`${servicePath('near')}/status`, { status: { loadBalancer: { ingress } } });
    await give(
      { ip: '198.51.100.7' },
      { ip: '127.0.0.1' },
      { ip: '169.254.169.254' },
      { hostname: 'localhost' },
      { hostname: 'apisix-admin.apisix.svc' },
    );
    const connectionRef = { name: 'strict' };
    await upstream('balanced', [to('near', { mode: 'LoadBalancer' })], { connectionRef });
    await holds('balanced', '198.51.100.7:80=1');
    await eventually(async () => {
      const { status } = (await work.get(work.upstreamPath('balanced'))) as { readonly status: object };
      expect(status).toMatchObject({
        excluded: ['127.0.0.1', '169.254.169.254', 'apisix-admin.apisix.svc', 'localhost'].map((host) => ({
          address: `${host}:80`,
          reason: 'AddressNotAllowed',
        })),
      });
    });
    await give({ hostname: 'apisix-admin.apisix.svc' });
    await says('balanced', 'ResolvedRefs', 'False', 'StaticAddressesDenied');
    await holds('balanced');

    const { spec } = (await work.get(servicePath('near'))) as {
      readonly spec: { readonly ports: readonly { readonly nodePort: number }[] };
    };
    await upstream('by-node', [to('near', { mode: 'Node' })], { connectionRef });
    await says('by-node', 'Ready', 'True', 'NoReadyEndpoints');
    await holds('by-node');
    await work.patch(connectionPath('strict'), { spec: { addresses: { allow: ['127.0.0.3/32'] } } });
    await holds('by-node', `127.0.0.3:${spec.ports[0]?.nodePort}=1`);
  });

  it('applies a changed addressing mode of the backend and of the connection at once', async () => {
    await work.service('moving', [{ name: 'http', port: 80 }], {});
    await work.endpoints('moving', ['10.5.0.1', '10.5.0.2', '10.5.0.3']);
    const { spec } = (await work.get(servicePath('moving'))) as {
      readonly spec: { readonly clusterIP: string };
    };
    await upstream('moving', [to('moving', { mode: 'Pod' })]);
    await holds('moving', '10.5.0.1:8080=1', '10.5.0.2:8080=1', '10.5.0.3:8080=1');
    const set = (addressing: object | undefined) =>
      work.patch(work.upstreamPath('moving'), { spec: { backends: [to('moving', addressing)] } });
    await set({ mode: 'ClusterIP' });
    await holds('moving', `${spec.clusterIP}:80=1`);
    await set({ mode: 'DNS' });
    await holds('moving', `moving.${work.namespace}.svc.cluster.local:80=1`);
    await set(undefined);
    await says('moving', 'ResolvedRefs', 'False', 'NodePortMissing');
    await holds('moving');
    await work.patch(connectionPath('main'), { spec: { addressing: { mode: 'Pod' } } });
    await holds('moving', '10.5.0.1:8080=1', '10.5.0.2:8080=1', '10.5.0.3:8080=1');
    await work.patch(connectionPath('main'), { spec: { addressing: { mode: 'DNS' } } });
    await holds('moving', `moving.${work.namespace}.svc.cluster.local:80=1`);
    expect(await work.condition('moving', 'RemovalHeld')).toBeUndefined();
    await work.patch(connectionPath('main'), { spec: { addressing: { mode: 'Node' } } });
  });

  it('uses the name of an ExternalName Service if the connection allows it', async () => {
    const port = await serve('127.0.0.1', 0, 'outside');
    await work.service('outside', [], { type: 'ExternalName', externalName: 'localhost' });
    await upstream('outside', [to('outside', undefined, port)]);
    await says('outside', 'ResolvedRefs', 'False', 'StaticAddressesDenied');
    expect(nodes('outside')).toBeUndefined();
    await work.patch(connectionPath('main'), { spec: { tenantPolicy: { staticAddresses: 'Allow' } } });
    await holds('outside', `localhost:${port}=1`);
    await route('outside');
    expect(await requests('outside', 2)).toEqual({ outside: 2 });
    await work.patch(servicePath('outside'), { spec: { externalName: 'db.late' } });
    await holds('outside', `db.late:${port}=1`);
    // Now the name is a Service in another namespace.
    await cluster.kubectl(['create', 'namespace', 'late']);
    await says('outside', 'ResolvedRefs', 'False', 'StaticAddressesDenied');
    await holds('outside');
    await work.patch(servicePath('outside'), { spec: { externalName: 'localhost' } });
    await holds('outside', `localhost:${port}=1`);
    await work.patch(servicePath('outside'), {
      spec: { externalName: `other.${work.namespace}.svc.cluster.local` },
    });
    await says('outside', 'ResolvedRefs', 'False', 'StaticAddressesDenied');
    await holds('outside');
  });

  it('reads Endpoints without a Service, and EndpointSlices as soon as the Service exists', async () => {
    const path = `/api/v1/namespaces/${work.namespace}/endpoints`;
    await work.create(path, {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name: 'database' },
      subsets: [{ addresses: [{ ip: '10.6.0.1' }], ports: [{ name: 'db', port: 3306 }] }],
    });
    await upstream('database', [
      { serviceName: `${work.namespace}/database:db`, addressing: { mode: 'Pod' } },
    ]);
    await holds('database', '10.6.0.1:3306=1');
    await work.patch(`${path}/database`, {
      subsets: [{ addresses: [{ ip: '10.6.0.1' }, { ip: '10.6.0.2' }], ports: [{ name: 'db', port: 3306 }] }],
    });
    await holds('database', '10.6.0.1:3306=1', '10.6.0.2:3306=1');
    await work.service('database', [{ name: 'db', port: 3306 }]);
    await work.create(`/apis/discovery.k8s.io/v1/namespaces/${work.namespace}/endpointslices`, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'by-hand', labels: { 'kubernetes.io/service-name': 'database' } },
      addressType: 'IPv4',
      ports: [{ name: 'db', port: 3307 }],
      endpoints: [{ addresses: ['10.6.0.9'] }],
    });
    // Kubernetes now mirrors the Endpoints into an EndpointSlice.
    await holds('database', '10.6.0.1:3306=1', '10.6.0.2:3306=1', '10.6.0.9:3307=1');
  });

  it('derives the scheme from appProtocol', async () => {
    await work.create(`/api/v1/namespaces/${work.namespace}/services`, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'rpc' },
      spec: { clusterIP: 'None', ports: [{ name: 'rpc', port: 9000, appProtocol: 'kubernetes.io/h2c' }] },
    });
    await upstream('rpc', [to('rpc', { mode: 'Pod' }, 'rpc')]);
    await eventually(() => expect(gateway.get('upstreams', idOf('rpc'))).toMatchObject({ scheme: 'grpc' }));
    await work.patch(work.upstreamPath('rpc'), { spec: { scheme: 'HTTP' } });
    await eventually(() => expect(gateway.get('upstreams', idOf('rpc'))).toMatchObject({ scheme: 'http' }));
  });
});
