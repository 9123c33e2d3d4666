import { setTimeout as sleep } from 'node:timers/promises';
import type { RecordedRequest } from '../../test/support/apisix-stand-in/stand-in.ts';
import { startControlPlane } from '../../test/support/control-plane/control-plane.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../../test/support/operator.ts';
import { createWorkload, GROUP_PATH, writeSecret } from '../../test/support/workload.ts';
import type { GatewayHandlers } from '../gateway-process.ts';
import { eachOf } from '../measure.ts';
import { type Remote, startRemote } from '../remote.ts';
import { MAIN } from '../scene.ts';
import type { ProxyHandlers } from './proxy-process.ts';
import type { LoadedRegistry, LoadInstance } from './registry.ts';

export const INSTANCES = 10;
const NAME = 'bench';
const NAMESPACE = 'bench-registry';
const WRITERS = 16;

/** A service of the registry, and the upstream of its instances. */
export interface Subject {
  readonly service: string;
  /** The id of its upstream. */
  readonly id: string;
  readonly instances: LoadInstance[];
}

/** The environment of the operator, with one upstream per service of a registry. */
export interface RegistryScene extends AsyncDisposable {
  readonly registry: LoadedRegistry;
  readonly subjects: readonly Subject[];
  readonly gateway: Remote<GatewayHandlers>;
  /** Between the operator and the registry. */
  readonly proxy: Remote<ProxyHandlers>;
  /** Starts the built program. It stops with the scene. */
  operator(): Promise<Operator>;
  newInstance(): LoadInstance;
  /** Waits until `enough` accepts the number of written upstreams. Resolves to all requests since the last call. */
  requestsUntil(
    enough: (upstreams: number) => boolean,
    timeoutMs: number,
  ): Promise<readonly RecordedRequest[]>;
}

/** The names of `count` services. */
export function serviceNames(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `service-${String(index).padStart(5, '0')}`);
}

export async function createRegistryScene(
  registry: LoadedRegistry,
  count: number,
  report: (line: string) => void,
): Promise<RegistryScene> {
  await using opened = new AsyncDisposableStack();
  const cluster = opened.use(await startControlPlane());
  const gateway = opened.use(startRemote<GatewayHandlers>('gateway-process.ts'));
  const proxy = opened.use(startRemote<ProxyHandlers>('registries/proxy-process.ts'));
  const { url, key } = await gateway.ask('address');
  const registryUrl = await proxy.ask('start', registry.url.href);
  await installCrds(cluster);
  const home = await cluster.newNamespace('bench-operator', { awaitServiceAccount: true });
  const token = await installRbac(cluster, home);
  await writeSecret(cluster, home, 'gateway', { 'admin-key': key });
  await writeSecret(cluster, home, 'registry', registry.secret);
  const workload = createWorkload(cluster, await cluster.newNamespace(NAMESPACE));
  await workload.connection(NAME, {
    adminUrl: url,
    secret: 'gateway',
    extra: { allowedRegistries: [NAME] },
  });
  await workload.create(`${GROUP_PATH}/serviceregistries`, {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'ServiceRegistry',
    metadata: { name: NAME },
    spec: { ...registry.spec(registryUrl), allowedNamespaces: { all: true } },
  });

  let addresses = 0;
  const newInstance = (): LoadInstance => {
    addresses += 1;
    return { host: `10.${(addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`, port: 8080 };
  };
  const subjects = serviceNames(count).map((service) => ({
    service,
    id: `${workload.namespace}.${service}`,
    instances: Array.from({ length: INSTANCES }, newInstance),
  }));
  let made = 0;
  await eachOf(subjects, WRITERS, async ({ service, instances }) => {
    await registry.fill(service, instances);
    await workload.upstream(service, {
      connectionRef: { name: NAME },
      backends: [{ registryRef: { name: NAME }, service }],
      // The load removes instances faster than any rollout.
      removalGuard: { maxRemovalPercent: 100 },
    });
    made += 1;
    if (made % 250 === 0) report(`${made} of ${count} services registered`);
  });

  const operators = opened.use(new AsyncDisposableStack());
  const stack = opened.move();
  return {
    registry,
    subjects,
    gateway,
    proxy,
    newInstance,
    operator: async () =>
      operators.use(
        await startOperator(cluster, home, token, {
          logLevel: 'info',
          program: { main: MAIN, nodeArgs: [] },
          // The server of the registry and the load share the machine with the operator, which has no standby replica here.
          leaderElection: { leaseDuration: '60s', renewDeadline: '40s', retryPeriod: '5s' },
        }),
      ),
    async requestsUntil(enough, timeoutMs) {
      const deadline = performance.now() + timeoutMs;
      while (performance.now() < deadline && !enough(await gateway.ask('upstreams'))) await sleep(50);
      return await gateway.ask('take');
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
