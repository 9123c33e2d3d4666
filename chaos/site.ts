import { type StandIn, startStandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import type { ControlPlane } from '../test/support/control-plane/control-plane.ts';
import { installRbac, type OperatorOptions } from '../test/support/operator.ts';
import { connectionPath, GROUP_PATH, writeSecret } from '../test/support/workload.ts';
import { Judge } from './judge.ts';
import { type Backend, Model, PORT, type Service, type Slice, type Upstream } from './model.ts';
import { createPatientCluster, type PatientCluster } from './patient-cluster.ts';
import { Replica } from './replica.ts';

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
    const token = await installRbac(cluster, operatorNamespace);
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
  async makeService(namespace: string, name: string, slices: readonly Slice[]): Promise<Service> {
    const service = this.model.service(namespace, name) ?? {
      namespace,
      name,
      exists: false,
      slices: new Map(),
      steady: false,
    };
    this.model.services.set(`${namespace}/${name}`, service);
    for (const [index, slice] of slices.entries()) await this.writeSlice(service, `${name}-${index}`, slice);
    await this.api.create(`/api/v1/namespaces/${namespace}/services`, {
      metadata: { name },
      // Without selector: nobody but the run writes its slices.
      spec: { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] },
    });
    service.exists = true;
    return service;
  }

  async removeService(service: Service): Promise<void> {
    service.exists = false;
    service.steady = false;
    await this.api.remove(`/api/v1/namespaces/${service.namespace}/services/${service.name}`);
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

  async makeUpstream(
    given: Pick<Upstream, 'namespace' | 'name' | 'backends' | 'guarded' | 'syncPolicy' | 'deletionPolicy'>,
  ): Promise<Upstream> {
    const upstream: Upstream = {
      ...given,
      id: `${given.namespace}.${given.name}`,
      retries: 1,
      state: 'live',
      referred: new Set(given.backends.map(({ service }) => service)),
      settled: undefined,
    };
    this.model.owned.add(upstream.id);
    this.model.upstreams.set(upstream.id, upstream);
    await this.api.create(`${GROUP_PATH}/namespaces/${given.namespace}/gatewayupstreams`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstream',
      metadata: { name: given.name },
      spec: {
        connectionRef: { name: this.name },
        backends: backendsOf(given.backends),
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
        backends: backendsOf([{ service, weight: 1 }]),
      },
    });
  }

  async editUpstream(
    upstream: Upstream,
    change: Partial<Pick<Upstream, 'backends' | 'retries' | 'syncPolicy' | 'deletionPolicy'>>,
  ): Promise<void> {
    Object.assign(upstream, change);
    for (const { service } of change.backends ?? []) upstream.referred.add(service);
    if (change.syncPolicy !== undefined) upstream.settled = undefined;
    const { backends, ...plain } = change;
    await this.api.patch(pathOf(upstream), {
      spec: { ...plain, ...(backends === undefined ? {} : { backends: backendsOf(backends) }) },
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
      if (service.namespace === name) Object.assign(service, { exists: false, steady: false });
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
  }
}

export function pathOf({ namespace, name }: Pick<Upstream, 'namespace' | 'name'>): string {
  return `${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams/${name}`;
}

function backendsOf(backends: readonly Backend[]): readonly object[] {
  return backends.map(({ service, weight }) => ({ serviceRef: { name: service, port: 'http' }, weight }));
}
