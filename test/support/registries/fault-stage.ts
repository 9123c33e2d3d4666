import { expect } from 'vitest';
import { type StandIn, startStandIn } from '../apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../control-plane/control-plane.ts';
import { eventually } from '../eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../operator.ts';
import { hostsOf } from '../whole-cluster.ts';
import {
  type ConditionView,
  conditionOf,
  createWorkload,
  GROUP_PATH,
  type Workload,
  writeSecret,
} from '../workload.ts';
import { type BreakableProxy, FaultProxy } from './fault-proxy.ts';
import type { FaultInstance, RegistryUnderTest } from './registry-under-test.ts';

type SecretData = Readonly<Record<string, string>>;

const MAX_SCENES = 60;
const nameOf = (scene: number) => `r${scene}`;

/** A cluster, an operator, a gateway and a registry. Each test plays a scene of its own on it. */
export class FaultStage implements AsyncDisposable {
  readonly registry: RegistryUnderTest;
  readonly gateway: StandIn;
  readonly #cluster: ControlPlane;
  readonly #work: Workload;
  readonly #operatorNamespace: string;
  readonly #token: string;
  #operator: Operator | undefined;
  #scenes = 0;

  private constructor(
    registry: RegistryUnderTest,
    gateway: StandIn,
    cluster: ControlPlane,
    work: Workload,
    operatorNamespace: string,
    token: string,
  ) {
    this.registry = registry;
    this.gateway = gateway;
    this.#cluster = cluster;
    this.#work = work;
    this.#operatorNamespace = operatorNamespace;
    this.#token = token;
  }

  static async start(start: () => Promise<RegistryUnderTest>): Promise<FaultStage> {
    await using started = new AsyncDisposableStack();
    const registry = started.use(await start());
    const gateway = started.use(await startStandIn());
    const cluster = started.use(await startControlPlane());
    await installCrds(cluster);
    const operatorNamespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, operatorNamespace);
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    const work = createWorkload(cluster, await cluster.newNamespace('apps'));
    await work.connection('default', {
      adminUrl: gateway.adminUrl,
      secret: 'gateway',
      extra: { allowedRegistries: Array.from({ length: MAX_SCENES }, (_, scene) => nameOf(scene)) },
    });
    const stage = new FaultStage(registry, gateway, cluster, work, operatorNamespace, token);
    await stage.startOperator();
    started.move();
    return stage;
  }

  get work(): Workload {
    return this.#work;
  }

  operator(): Operator {
    if (this.#operator === undefined) throw new Error('the operator does not run');
    return this.#operator;
  }

  /** @throws Error with the end of its log if the operator has ended by itself. */
  assertRunning(): void {
    const { process, output } = this.operator();
    if (process.exitCode === null && process.signalCode === null) return;
    throw new Error(
      `the operator ended with ${process.exitCode ?? process.signalCode}: ${output().slice(-2000)}`,
    );
  }

  async startOperator(): Promise<void> {
    this.#operator = await startOperator(this.#cluster, this.#operatorNamespace, this.#token, {
      debugState: true,
      // On a busy machine, a large answer may delay the renewal of the lease, and the operator ends when it has lost it.
      leaderElection: { enabled: false },
    });
    await this.#operator.ready();
  }

  async killOperator(): Promise<void> {
    await this.#operator?.kill();
    this.#operator = undefined;
  }

  secret(name: string, data: SecretData): Promise<void> {
    return writeSecret(this.#cluster, this.#operatorNamespace, name, data);
  }

  async removeSecret(name: string): Promise<void> {
    await this.#work.remove(`/api/v1/namespaces/${this.#operatorNamespace}/secrets/${name}`);
  }

  async scene(options: SceneOptions = {}): Promise<Scene> {
    const name = nameOf(this.#scenes);
    this.#scenes += 1;
    const { servers = 1, credentials } = options;
    const { startProxy = (target: URL) => FaultProxy.start(target), url } = this.registry;
    const proxies = await Promise.all(Array.from({ length: servers }, () => startProxy(url)));
    await this.secret(name, credentials ?? (await this.registry.credentials()));
    return new Scene(this, name, proxies, options.spec ?? {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#operator?.[Symbol.asyncDispose]();
    await this.#cluster.close();
    await this.gateway[Symbol.asyncDispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

export interface SceneOptions {
  /** Servers of the ServiceRegistry: proxies in front of the only real one. Default: 1. */
  readonly servers?: number;
  /** Default: working credentials. */
  readonly credentials?: SecretData;
  /** More of the spec of the ServiceRegistry. */
  readonly spec?: object;
}

/** A ServiceRegistry of its own behind its own proxies, and upstreams that use one service of it. */
export class Scene implements AsyncDisposable {
  readonly name: string;
  readonly proxies: readonly BreakableProxy[];
  readonly #stage: FaultStage;
  readonly #spec: object;
  readonly #upstreams = new Set<string>();
  readonly #services = new Set<string>();
  /** Index of the first request to the gateway that counts. */
  #from: number;

  constructor(stage: FaultStage, name: string, proxies: readonly BreakableProxy[], spec: object) {
    this.#stage = stage;
    this.name = name;
    this.proxies = proxies;
    this.#spec = spec;
    this.#from = stage.gateway.requests.length;
  }

  get proxy(): BreakableProxy {
    const [proxy] = this.proxies;
    if (proxy === undefined) throw new Error('the scene has no server');
    return proxy;
  }

  /** The name of the registry's service that the upstreams use. */
  get service(): string {
    return `${this.name}-web`;
  }

  register(instances: readonly (string | FaultInstance)[], service = this.service): Promise<void> {
    this.#services.add(service);
    return this.#stage.registry.register(
      service,
      instances.map((one) => (typeof one === 'string' ? { address: one } : one)),
    );
  }

  /** Changes one instance that is registered, in a way that does not concern the gateway. */
  touch(address: string): Promise<void> {
    return this.#stage.registry.touch(this.service, address);
  }

  /** Creates the ServiceRegistry. */
  async connect(): Promise<void> {
    const urls = this.proxies.map(({ url }) => url);
    await this.#stage.work.create(`${GROUP_PATH}/serviceregistries`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'ServiceRegistry',
      metadata: { name: this.name },
      spec: {
        allowedNamespaces: { all: true },
        requestTimeout: '1s',
        pollInterval: '1s',
        ...this.#stage.registry.spec(urls, this.name),
        ...this.#spec,
      },
    });
  }

  /** Creates an upstream of the registry's service and of more backends. */
  async upstream(name: string, backends: readonly object[] = [], service = this.service): Promise<void> {
    this.#upstreams.add(name);
    await this.#stage.work.upstream(this.#full(name), {
      backends: [{ registryRef: { name: this.name }, service }, ...backends],
    });
  }

  /** Creates a Service with endpoints. Resolves to the backend that refers to it. */
  async pods(addresses: readonly string[]): Promise<object> {
    await this.#stage.work.service(this.#full('pods'));
    await this.movePods(addresses);
    return { serviceRef: { name: this.#full('pods'), port: 80 } };
  }

  movePods(addresses: readonly string[]): Promise<void> {
    return this.#stage.work.endpoints(this.#full('pods'), addresses);
  }

  rotate(data: SecretData): Promise<void> {
    return this.#stage.secret(this.name, data);
  }

  hosts(name: string): readonly string[] | undefined {
    const hosts = hostsOf(this.#stage.gateway, this.#id(name));
    return hosts === undefined ? undefined : [...hosts].sort();
  }

  async shows(name: string, hosts: readonly string[], timeoutMs = 60_000): Promise<void> {
    await eventually(() => expect(this.hosts(name)).toEqual([...hosts].sort()), { timeoutMs });
  }

  condition(name: string, type: string): Promise<ConditionView | undefined> {
    return this.#stage.work.condition(this.#full(name), type);
  }

  async resolves(name: string, expected: object): Promise<ConditionView> {
    return await eventually(async () => {
      const found = await this.condition(name, 'ResolvedRefs');
      expect(found).toMatchObject(expected);
      return found as ConditionView;
    });
  }

  /** Waits until the status of the upstream or of the registry names the problem. */
  async names(problem: RegExp, upstream: string): Promise<void> {
    const path = `${GROUP_PATH}/serviceregistries/${this.name}`;
    await eventually(async () => {
      const registry = conditionOf(await this.#stage.work.get(path), 'Ready');
      const found = await this.condition(upstream, 'ResolvedRefs');
      expect(`${found?.message}; ${registry?.message}`).toMatch(problem);
    });
  }

  /** From now on, `writes` counts from zero. */
  mark(): void {
    this.#from = this.#stage.gateway.requests.length;
  }

  /** The sorted hosts of each write of the upstream since `mark`. */
  writes(name: string): readonly (readonly string[])[] {
    return this.#stage.gateway.requests
      .slice(this.#from)
      .filter(({ method, path }) => method === 'PUT' && path.endsWith(`/upstreams/${this.#id(name)}`))
      .map(({ body }) => {
        const { nodes } = JSON.parse(body ?? '{}') as {
          readonly nodes: readonly { readonly host: string }[];
        };
        return nodes.map(({ host }) => host).sort();
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stage.assertRunning();
    const { work } = this.#stage;
    const paths = [...this.#upstreams].map((name) => work.upstreamPath(this.#full(name)));
    for (const path of paths) await work.remove(path);
    await eventually(async () => {
      for (const path of paths) expect(await work.get(path)).toBeUndefined();
    });
    await work.remove(`${GROUP_PATH}/serviceregistries/${this.name}`);
    for (const service of this.#services) await this.#stage.registry.register(service, []);
    for (const proxy of this.proxies) await proxy[Symbol.asyncDispose]();
  }

  #full(name: string): string {
    return `${this.name}-${name}`;
  }

  #id(name: string): string {
    return `${this.#stage.work.namespace}.${this.#full(name)}`;
  }
}
