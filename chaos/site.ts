import { type StandIn, startStandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import type { ControlPlane } from '../test/support/control-plane/control-plane.ts';
import { installRbac, type OperatorOptions } from '../test/support/operator.ts';
import { connectionPath, GROUP_PATH, writeSecret } from '../test/support/workload.ts';
import { Judge } from './judge.ts';
import { Model } from './model.ts';
import { removeNode } from './nodes.ts';
import { createPatientCluster, type PatientCluster } from './patient-cluster.ts';
import { GONE } from './places.ts';
import { Registry } from './registry.ts';
import { Replica } from './replica.ts';
import { removeSet } from './upstream-set.ts';

export interface SiteOptions {
  readonly cluster: ControlPlane;
  /** Unique per site of a control plane, and part of every name. */
  readonly name: string;
  readonly note: (line: string) => void;
  readonly settings: OperatorOptions;
  /** Must match `settings`, or the default. */
  readonly leaseDurationMs: number;
  /** Decides the type of its service registry. Absent: it has none. */
  readonly registrySeed?: number;
}

/** A gateway, two replicas of the operator, and the model of the created objects. */
export class Site implements AsyncDisposable {
  readonly cluster: ControlPlane;
  readonly name: string;
  readonly note: (line: string) => void;
  readonly api: PatientCluster;
  readonly model = new Model();
  readonly judge: Judge;
  readonly gateway: StandIn;
  /** Undefined without a service registry. */
  readonly registry: Registry | undefined;
  readonly replicas: readonly Replica[];
  readonly operatorNamespace: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<Site, 'cluster' | 'name' | 'note' | 'api' | 'gateway' | 'registry' | 'replicas'> & {
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
    this.registry = parts.registry;
    this.replicas = parts.replicas;
    this.operatorNamespace = parts.operatorNamespace;
    this.#stack = parts.stack;
  }

  static async open({
    cluster,
    name,
    note,
    settings,
    leaseDurationMs,
    registrySeed,
  }: SiteOptions): Promise<Site> {
    await using stack = new AsyncDisposableStack();
    const api = createPatientCluster(cluster);
    const operatorNamespace = `${name}-operator`;
    await api.create('/api/v1/namespaces', { metadata: { name: operatorNamespace } });
    const model = new Model();
    const { watchNodes = false, secretNamespaces = [] } = settings;
    for (const namespace of secretNamespaces) {
      await api.create('/api/v1/namespaces', { metadata: { name: namespace } });
      model.namespaces.add(namespace);
    }
    const token = await installRbac(cluster, operatorNamespace, [], { watchNodes, secretNamespaces });
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
        tenantPolicy: { upstreamIds: 'Any', adoption: 'Allow' },
        ...(registrySeed !== undefined ? { allowedRegistries: [name] } : {}),
      },
    });
    const registry =
      registrySeed === undefined
        ? undefined
        : stack.use(await Registry.open({ cluster, api, name, operatorNamespace, seed: registrySeed }));
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
      registry,
      replicas,
      operatorNamespace,
      stack: moved,
    });
  }

  async makeNamespace(name: string): Promise<void> {
    await this.api.create('/api/v1/namespaces', { metadata: { name } });
    this.model.namespaces.add(name);
  }

  async removeNamespace(name: string): Promise<void> {
    this.model.namespaces.delete(name);
    for (const upstream of this.model.upstreams.values()) {
      if (upstream.namespace === name) upstream.state = 'deleting';
    }
    for (const service of this.model.services.values()) {
      if (service.namespace === name) Object.assign(service, GONE);
    }
    this.model.followSet();
    await this.api.remove(`/api/v1/namespaces/${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    // The connection keeps its finalizer because no operator runs any more. Other sites of this control plane are not affected.
    await this.api.patch(connectionPath(this.name), { metadata: { finalizers: null } });
    await this.api.remove(connectionPath(this.name));
    if (this.registry !== undefined) await this.api.remove(this.registry.path);
    await removeSet(this);
    for (const node of [...this.model.nodes.keys()]) await removeNode(this, node);
  }
}
