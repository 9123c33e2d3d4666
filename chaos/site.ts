import { type StandIn, startStandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import type { ControlPlane } from '../test/support/control-plane/control-plane.ts';
import { installRbac, type OperatorOptions } from '../test/support/operator.ts';
import { connectionPath, GROUP_PATH, writeSecret } from '../test/support/workload.ts';
import { Judge } from './judge.ts';
import { type Backend, Model, type Upstream } from './model.ts';
import { createPatientCluster, type PatientCluster } from './patient-cluster.ts';
import {
  type ClusterNode,
  type Front,
  type Mode,
  PORT,
  SERVICE_PORT,
  type Service,
  type Shape,
  type Slice,
} from './places.ts';
import { Replica } from './replica.ts';

const SITE_LABEL = 'chaos.example.com/site';
const EXCLUDED_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers';

const NO_FRONT: Front = { shape: 'Headless', clusterIp: undefined, nodePort: undefined, balancers: [] };
/** Of a Service. */
const GONE = { exists: false, steady: false, sameFront: false };

/** A Service as the API server gives it. */
interface ServiceView {
  readonly spec: {
    readonly type: Shape;
    readonly clusterIP: string;
    readonly ports: readonly { readonly nodePort?: number }[];
  };
  readonly status: {
    readonly loadBalancer?: {
      readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[];
    };
  };
}

export interface SiteOptions {
  readonly cluster: ControlPlane;
  /** Different for each site of a control plane; part of every name. */
  readonly name: string;
  readonly note: (line: string) => void;
  readonly settings: OperatorOptions;
  /** What `settings` say, or what it is by default. */
  readonly leaseDurationMs: number;
}

/** A gateway, two replicas that serve it, and the model of what was made for them. */
export class Site implements AsyncDisposable {
  readonly cluster: ControlPlane;
  readonly name: string;
  readonly note: (line: string) => void;
  readonly api: PatientCluster;
  readonly model = new Model();
  readonly judge: Judge;
  readonly gateway: StandIn;
  readonly replicas: readonly Replica[];
  readonly operatorNamespace: string;
  readonly #stack: AsyncDisposableStack;
  #nodes = 0;

  private constructor(
    parts: Pick<Site, 'cluster' | 'name' | 'note' | 'api' | 'gateway' | 'replicas'> & {
      readonly model: Model;
      readonly judge: Judge;
      readonly operatorNamespace: string;
      readonly stack: AsyncDisposableStack;
    },
  ) {
    this.cluster = parts.cluster;
    this.name = parts.name;
    this.note = parts.note;
    this.api = parts.api;
    this.model = parts.model;
    this.judge = parts.judge;
    this.gateway = parts.gateway;
    this.replicas = parts.replicas;
    this.operatorNamespace = parts.operatorNamespace;
    this.#stack = parts.stack;
  }

  static async open({ cluster, name, note, settings, leaseDurationMs }: SiteOptions): Promise<Site> {
    await using stack = new AsyncDisposableStack();
    const api = createPatientCluster(cluster);
    const operatorNamespace = `${name}-operator`;
    await api.create('/api/v1/namespaces', { metadata: { name: operatorNamespace } });
    const { watchNodes = false } = settings;
    const token = await installRbac(cluster, operatorNamespace, [], { watchNodes });
    const model = new Model();
    const replicas: Replica[] = [];
    const judge = new Judge({
      model,
      leaseDurationMs,
      isAwake: (instance) => replicas.some((replica) => replica.isAwake(instance)),
      note,
    });
    const gateway = stack.use(await startStandIn({ observer: judge }));
    judge.watch(gateway);
    await writeSecret(cluster, operatorNamespace, name, { 'admin-key': gateway.adminKey });
    await api.create(`${GROUP_PATH}/gatewayconnections`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayConnection',
      metadata: { name },
      spec: {
        type: 'APISIX',
        apisix: { adminUrl: gateway.adminUrl, adminKeySecretRef: { name, key: 'admin-key' } },
        allowedNamespaces: { all: true },
        tenantPolicy: { upstreamIds: 'Any' },
      },
    });
    for (const replica of ['a', 'b']) {
      replicas.push(
        stack.use(
          await Replica.open({
            cluster,
            namespace: operatorNamespace,
            token,
            name: replica,
            settings,
            onLine: (instance, line) => judge.printed(instance, line),
            onExit: (instance, exit) => judge.exited(instance, exit),
          }),
        ),
      );
    }
    for (const replica of replicas) await replica.start();
    const moved = stack.move();
    return new Site({
      cluster,
      name,
      note,
      api,
      model,
      judge,
      gateway,
      replicas,
      operatorNamespace,
      stack: moved,
    });
  }

  async makeNamespace(name: string): Promise<void> {
    await this.api.create('/api/v1/namespaces', { metadata: { name } });
    this.model.namespaces.add(name);
  }

  /** Its slices are there before it. */
  async makeService(
    namespace: string,
    name: string,
    { slices, shape }: { readonly slices: readonly Slice[]; readonly shape: Shape },
  ): Promise<Service> {
    const service = this.model.service(namespace, name) ?? {
      namespace,
      name,
      exists: false,
      front: NO_FRONT,
      slices: new Map(),
      steady: false,
      sameFront: false,
    };
    this.model.services.set(`${namespace}/${name}`, service);
    for (const [index, slice] of slices.entries()) await this.writeSlice(service, `${name}-${index}`, slice);
    await this.api.create(`/api/v1/namespaces/${namespace}/services`, {
      metadata: { name },
      // Without selector: nobody but the run writes its slices.
      spec: {
        ...(shape === 'Headless' ? { clusterIP: 'None' } : { type: shape }),
        ports: [{ name: 'http', port: SERVICE_PORT }],
      },
    });
    service.exists = true;
    await this.#lookAtFront(service);
    return service;
  }

  /** To another type than headless. */
  async reshapeService(service: Service, shape: Shape): Promise<void> {
    service.sameFront = false;
    await this.api.patch(servicePath(service), { spec: { type: shape } });
    await this.#lookAtFront(service);
  }

  /** What a load balancer gives to a Service of its type: addresses or names. */
  async writeBalancers(service: Service, balancers: readonly string[]): Promise<void> {
    service.sameFront = false;
    const ingress = balancers.map((host) => (/^[0-9.]+$/.test(host) ? { ip: host } : { hostname: host }));
    await this.api.patch(`${servicePath(service)}/status`, { status: { loadBalancer: { ingress } } });
    await this.#lookAtFront(service);
  }

  async removeService(service: Service): Promise<void> {
    Object.assign(service, GONE);
    await this.api.remove(servicePath(service));
  }

  async #lookAtFront(service: Service): Promise<void> {
    const { spec, status } = (await this.api.get(servicePath(service))) as unknown as ServiceView;
    const isHeadless = spec.clusterIP === 'None';
    service.front = {
      shape: isHeadless ? 'Headless' : spec.type,
      clusterIp: isHeadless ? undefined : spec.clusterIP,
      nodePort: spec.ports[0]?.nodePort,
      balancers: (status.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => ip ?? hostname ?? []),
    };
  }

  async writeSlice(service: Service, name: string, content: Slice): Promise<void> {
    this.model.writeSlice(service, name, content);
    await this.api.replace(`/apis/discovery.k8s.io/v1/namespaces/${service.namespace}/endpointslices`, name, {
      metadata: { name, labels: { 'kubernetes.io/service-name': service.name } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: PORT, protocol: 'TCP' }],
      endpoints: Object.entries(content).map(([address, health]) => ({
        addresses: [address],
        conditions: {
          ready: health === 'ready',
          serving: health === 'ready' || health === 'draining',
          terminating: health === 'draining' || health === 'ending',
        },
      })),
    });
  }

  /** A ready one, for gateways of this site alone. Resolves to its name. */
  async makeNode(): Promise<string> {
    this.#nodes += 1;
    const name = `${this.name}-node-${this.#nodes}`;
    this.model.writeNode(name, { address: this.model.newAddress(), ready: true });
    await this.api.create('/api/v1/nodes', { metadata: { name, labels: { [SITE_LABEL]: this.name } } });
    await this.#writeNodeStatus(name);
    return name;
  }

  async changeNode(name: string, change: Partial<Pick<ClusterNode, 'ready' | 'excluded'>>): Promise<void> {
    this.model.writeNode(name, change);
    if (change.ready !== undefined) await this.#writeNodeStatus(name);
    if (change.excluded !== undefined) {
      const labels = { [EXCLUDED_LABEL]: change.excluded ? '' : null };
      await this.api.patch(`/api/v1/nodes/${name}`, { metadata: { labels } });
    }
  }

  async removeNode(name: string): Promise<void> {
    this.model.writeNode(name, undefined);
    await this.api.remove(`/api/v1/nodes/${name}`);
  }

  async #writeNodeStatus(name: string): Promise<void> {
    const { address, ready } = this.model.nodes.get(name) ?? {};
    await this.api.patch(`/api/v1/nodes/${name}/status`, {
      status: {
        addresses: [{ type: 'InternalIP', address }],
        conditions: [{ type: 'Ready', status: ready === true ? 'True' : 'False' }],
      },
    });
  }

  /** How upstreams are reached that say nothing of it. */
  async changeAddressing(mode: Mode): Promise<void> {
    this.model.addressing = mode;
    const addressing = { nodeSelector: null, ...this.#addressing(mode) };
    await this.api.patch(connectionPath(this.name), { spec: { addressing } });
  }

  /** Nodes of other sites are none of its own. */
  #addressing(mode: Mode): object {
    return mode === 'Node' ? { mode, nodeSelector: { matchLabels: { [SITE_LABEL]: this.name } } } : { mode };
  }

  #backends(backends: readonly Backend[]): readonly object[] {
    return backends.map(({ service, weight, mode }) => ({
      serviceRef: { name: service, port: 'http' },
      weight,
      ...(mode === undefined ? {} : { addressing: this.#addressing(mode) }),
    }));
  }

  async makeUpstream(
    given: Pick<Upstream, 'namespace' | 'name' | 'backends' | 'guarded' | 'syncPolicy' | 'deletionPolicy'>,
  ): Promise<Upstream> {
    const upstream: Upstream = {
      ...given,
      id: `${given.namespace}.${given.name}`,
      retries: 1,
      state: 'live',
      referred: [],
      settled: undefined,
    };
    this.model.refer(upstream);
    this.model.owned.add(upstream.id);
    this.model.upstreams.set(upstream.id, upstream);
    await this.api.create(`${GROUP_PATH}/namespaces/${given.namespace}/gatewayupstreams`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstream',
      metadata: { name: given.name },
      spec: {
        connectionRef: { name: this.name },
        backends: this.#backends(given.backends),
        retries: upstream.retries,
        syncPolicy: given.syncPolicy,
        deletionPolicy: given.deletionPolicy,
        removalGuard: given.guarded ? { holdFor: '3s' } : { maxRemovalPercent: 100 },
      },
    });
    return upstream;
  }

  /** An object that asks for an upstream of somebody else. */
  async makeTrespasser(namespace: string, upstreamId: string, service: string): Promise<void> {
    await this.api.create(`${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstream',
      metadata: { name: `trespasser-${upstreamId}` },
      spec: {
        connectionRef: { name: this.name },
        upstreamId,
        backends: this.#backends([{ service, weight: 1 }]),
      },
    });
  }

  async editUpstream(
    upstream: Upstream,
    change: Partial<Pick<Upstream, 'backends' | 'retries' | 'syncPolicy' | 'deletionPolicy'>>,
  ): Promise<void> {
    Object.assign(upstream, change);
    this.model.refer(upstream);
    if (change.syncPolicy !== undefined) upstream.settled = undefined;
    const { backends, ...plain } = change;
    await this.api.patch(pathOf(upstream), {
      spec: { ...plain, ...(backends === undefined ? {} : { backends: this.#backends(backends) }) },
    });
  }

  async removeUpstream(upstream: Upstream): Promise<void> {
    upstream.state = 'deleting';
    await this.api.remove(pathOf(upstream));
  }

  async removeNamespace(name: string): Promise<void> {
    this.model.namespaces.delete(name);
    for (const upstream of this.model.upstreams.values()) {
      if (upstream.namespace === name) upstream.state = 'deleting';
    }
    for (const service of this.model.services.values()) {
      if (service.namespace === name) Object.assign(service, GONE);
    }
    await this.api.remove(`/api/v1/namespaces/${name}`);
  }

  /** Writes somebody else's upstream. */
  writeForeign(id: string, value: Record<string, unknown>): void {
    this.gateway.put('upstreams', id, value);
    this.rememberForeign([id]);
  }

  /** What the gateway now holds under these ids is what must stay there. */
  rememberForeign(ids: Iterable<string>): void {
    for (const id of ids) this.model.foreign.set(id, JSON.stringify(this.gateway.get('upstreams', id)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    // The connection's finalizer stays for as long as nobody runs; another site of this control plane is not bothered.
    await this.api.patch(connectionPath(this.name), { metadata: { finalizers: null } });
    await this.api.remove(connectionPath(this.name));
    for (const node of [...this.model.nodes.keys()]) await this.removeNode(node);
  }
}

export function pathOf({ namespace, name }: Pick<Upstream, 'namespace' | 'name'>): string {
  return `${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams/${name}`;
}

function servicePath({ namespace, name }: Service): string {
  return `/api/v1/namespaces/${namespace}/services/${name}`;
}
