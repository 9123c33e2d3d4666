import type { ClusterAccess } from '../test/support/control-plane/cluster-access.ts';
import { FaultProxy } from '../test/support/registries/fault-proxy.ts';
import { GROUP_PATH, writeSecret } from '../test/support/workload.ts';
import type { PatientCluster } from './patient-cluster.ts';
import { type Instance, type RegisteredService, VANISHED_HOLD_MS } from './registered.ts';
import { type RegistryServer, startRegistryServer } from './registry-server.ts';
import type { Site } from './site.ts';

export interface RegistryOptions {
  readonly cluster: ClusterAccess;
  readonly api: PatientCluster;
  /** Of the ServiceRegistry and its Secret. */
  readonly name: string;
  readonly operatorNamespace: string;
  readonly seed: number;
}

/** Every service has a query of its own. */
const CONCURRENT_QUERIES = 100;

/** A real registry, which is reached through two proxies as if it were two servers. */
export class Registry implements AsyncDisposable {
  readonly server: RegistryServer;
  readonly proxies: readonly [FaultProxy, FaultProxy];
  isRunning = true;
  readonly #options: RegistryOptions;

  private constructor(
    options: RegistryOptions,
    server: RegistryServer,
    proxies: readonly [FaultProxy, FaultProxy],
  ) {
    this.#options = options;
    this.server = server;
    this.proxies = proxies;
  }

  static async open(options: RegistryOptions): Promise<Registry> {
    const server = await startRegistryServer(options.seed);
    const proxies = [await FaultProxy.start(server.url), await FaultProxy.start(server.url)] as const;
    const registry = new Registry(options, server, proxies);
    await registry.useCredentials();
    await registry.create();
    return registry;
  }

  get path(): string {
    return `${GROUP_PATH}/serviceregistries/${this.#options.name}`;
  }

  async create(): Promise<void> {
    const { api, name } = this.#options;
    await api.create(`${GROUP_PATH}/serviceregistries`, {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'ServiceRegistry',
      metadata: { name },
      spec: {
        ...this.server.spec(
          this.proxies.map(({ url }) => url),
          secretName(name),
        ),
        requestTimeout: '1s',
        vanishedHold: `${VANISHED_HOLD_MS / 1000}s`,
        allowedNamespaces: { all: true },
      },
    });
  }

  /** Resolves when the object is gone. */
  async remove(): Promise<void> {
    const { api } = this.#options;
    do await api.remove(this.path);
    while ((await api.get(this.path)) !== undefined);
  }

  async limitQueries(concurrentQueries = CONCURRENT_QUERIES): Promise<void> {
    await this.#options.api.patch(this.path, { spec: { limits: { concurrentQueries } } });
  }

  /** The operator uses these from now on. */
  async useCredentials(data = this.server.credentials): Promise<void> {
    const { cluster, name, operatorNamespace } = this.#options;
    await writeSecret(cluster, operatorNamespace, secretName(name), data);
  }

  async write({ name, instances }: RegisteredService): Promise<void> {
    await this.server.register(name, instances);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.proxies) await proxy[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

/** Also while the operator does not reach the registry. Must not be called while it does not run or is empty. */
export async function writeInstances(
  { model, registry }: Site,
  name: string,
  instances: readonly Instance[],
): Promise<void> {
  await registry?.write(model.registered.write(name, instances));
}

/** The registry restarts without its content, and stays empty until `registerAgain`. */
export async function restartEmpty({ model, registry }: Site): Promise<void> {
  if (registry === undefined) return;
  if (registry.isRunning) await registry.server.kill();
  model.registered.lose(performance.now());
  await registry.server.start();
  registry.isRunning = true;
}

export async function registerAgain({ model, registry }: Site): Promise<void> {
  for (const service of model.registered.services.values()) await registry?.write(service);
  model.registered.isListed = true;
}

function secretName(name: string): string {
  return `${name}-registry`;
}
