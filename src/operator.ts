import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { OPERATOR } from './api/group.ts';
import { METRICS } from './api/metrics.ts';
import type { Catalog } from './catalog.ts';
import type { Config } from './config/config.ts';
import { type Controller, createController } from './engine/controller.ts';
import {
  createInstruments,
  objectSamples,
  registryAgeSamples,
  registryServiceSamples,
} from './engine/instruments.ts';
import { ObjectStates } from './engine/object-state.ts';
import { collectState, type OperatorState, readinessChecks, stateOf } from './engine/operator-state.ts';
import { createReporter } from './engine/status/reporter.ts';
import { type Caches, createCaches } from './kube/caches.ts';
import { clusterUid } from './kube/cluster-uid.ts';
import { createEventRecorder, type EventRecorder } from './kube/event-recorder.ts';
import { loadKubeConfig } from './kube/kubeconfig.ts';
import { createLeaderElection, guardWrites, type LeaderElection, NO_LEADER_ELECTION } from './kube/leader.ts';
import { createMemberWriter } from './kube/member-writer.ts';
import { createObjectWriter } from './kube/object-writer.ts';
import { createPermissionMonitor } from './kube/permissions.ts';
import { permissionsNeeded } from './kube/rbac.ts';
import { OBJECT_STEPS } from './kube/store.ts';
import { createTransport, type KubeTransport } from './kube/transport.ts';
import type { Reference } from './model/reference.ts';
import { createBackoff } from './runtime/backoff.ts';
import { systemClock } from './runtime/clock.ts';
import type { Logger } from './runtime/logger.ts';
import { createMetrics, type Metrics } from './runtime/metrics.ts';
import { type OpsServer, startOpsServer } from './runtime/ops-server.ts';
import { Pace } from './runtime/pace.ts';
import { createKubernetesSource } from './sources/kubernetes/source.ts';
import { type RegistryInstruments, ServiceRegistries } from './sources/registries.ts';
import type { DiscoverySource } from './sources/source.ts';
import { combineSources } from './sources/sources.ts';

const clock = systemClock;
const { random } = Math;

/** Runs the operator until the signal aborts. Rejects if it cannot start, and with `LeaseLostError` when it loses the Lease. */
export async function runOperator(
  catalog: Catalog,
  config: Config,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const metrics = createMetrics();
  const { transport, permissions } = connectCluster(catalog, config, log);
  const { reflectors, stores } = createClusterCaches(transport, metrics, catalog, config, log);
  const instruments = createInstruments(metrics);
  const { source, registryReader } = createSources(catalog, config, log, stores, instruments);
  const election = createElection(transport, config, log);
  const guarded = guardWrites(transport, election.mayWrite);
  const events = createEvents(guarded, stores, log, signal);
  const writer = createObjectWriter(guarded);
  using pace = new Pace(clock);
  const states = new ObjectStates(clock);
  const shared = { ...stores, states, writer, instruments, pace, clock, random, log, backoffMs };
  const { statusConcurrency: concurrency } = config;
  const reporter = createReporter({ ...shared, events, countsEveryMs: 10_000, concurrency });
  const run = { controller: undefined as Controller | undefined };
  await using _ops = await serveOps(metrics, config, log, { ...stores, registryReader }, run, {
    checks: readinessChecks(reflectors, permissions, election),
    reflectors,
    isLeader: election.mayWrite,
    lease: election.leaseStatus,
    missing: permissions.missing,
    depths: () => [...(run.controller?.depths() ?? []), ...reporter.depths()],
  });
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const running = [...reflectors, source, permissions].map((part) => part.run(ended));
  try {
    const clusterId = config.clusterId ?? (await clusterUid(stores.namespaces, ended));
    if (clusterId === undefined) return;
    log.info({ clusterId, operatorNamespace: config.operatorNamespace }, 'starting');
    const controller = createController({
      ...config,
      ...shared,
      vendorOf: catalog.vendor,
      clusterId,
      onlyNamespaces: config.namespaces,
      source,
      ...(registryReader === undefined ? {} : { registryReader }),
      permissions,
      memberWriter: createMemberWriter(guarded),
      reporter,
      resyncMs: config.resyncInterval,
      requestTimeoutMs: config.requestTimeout,
      mayWrite: election.mayWrite,
    });
    run.controller = controller;
    await election.run((leading) => controller.run(leading), signal);
  } finally {
    stop.abort();
    await Promise.allSettled(running);
    await transport.close();
  }
}

/** All built-in discovery sources. */
function createSources(
  { registryTypes: types }: Catalog,
  { operatorNamespace }: Config,
  log: Logger,
  stores: OperatorStores,
  instruments: RegistryInstruments,
): { readonly source: DiscoverySource<Reference>; readonly registryReader: ServiceRegistries | undefined } {
  const { registries, secrets } = stores;
  const shared = { secrets, operatorNamespace, types, instruments, clock, random, log };
  const Registry = registries && new ServiceRegistries({ ...shared, registries });
  const Kubernetes = createKubernetesSource(stores);
  return {
    source: combineSources({ Kubernetes, ...(Registry === undefined ? {} : { Registry }) }),
    registryReader: Registry,
  };
}

function connectCluster(catalog: Catalog, config: Config, log: Logger) {
  const transport = createTransport({
    kubeConfig: loadKubeConfig(config.kubeconfig),
    userAgent: OPERATOR,
    reload: () => loadKubeConfig(config.kubeconfig),
    onRefused: (path) => permissions.refused(path),
  });
  const permissions = createPermissionMonitor({
    transport,
    permissions: permissionsNeeded(catalog.followedKinds, config),
    clock,
    log,
    intervalMs: config.permissionCheckInterval,
  });
  return { transport, permissions };
}

/** Creates the caches and the metric that counts objects they cannot read. */
function createClusterCaches(
  transport: KubeTransport,
  metrics: Metrics,
  catalog: Catalog,
  config: Config,
  log: Logger,
) {
  const objectFailures = metrics.counter(METRICS.objectFailures);
  const caches = createCaches({
    transport,
    clock,
    random,
    log,
    namespaces: config.namespaces,
    onObjectFailure: (watch, step) => objectFailures({ watch, step }),
  });
  const stores = createStores(caches, catalog, config);
  for (const { name } of caches.reflectors) {
    for (const step of OBJECT_STEPS) objectFailures({ watch: name, step }, 0);
  }
  return { reflectors: caches.reflectors, stores };
}

function createElection(transport: KubeTransport, config: Config, log: Logger): LeaderElection {
  const { enabled, leaseName, leaseDuration, renewDeadline, retryPeriod } = config.leaderElection;
  if (!enabled) return NO_LEADER_ELECTION;
  return createLeaderElection({
    transport,
    clock,
    log,
    namespace: config.operatorNamespace,
    leaseName,
    identity: `${hostname()}-${randomBytes(4).toString('hex')}`,
    leaseDurationMs: leaseDuration,
    renewDeadlineMs: renewDeadline,
    retryPeriodMs: retryPeriod,
  });
}

function createEvents(
  transport: KubeTransport,
  { namespaces }: Pick<OperatorStores, 'namespaces'>,
  log: Logger,
  signal: AbortSignal,
): EventRecorder {
  return createEventRecorder({
    transport,
    clock,
    random,
    log,
    instance: hostname(),
    signal,
    isTerminating: (namespace) => namespaces.get('', namespace)?.terminating ?? false,
  });
}

/** Back-off in milliseconds after this many consecutive failures. */
function backoffMs(failures: number): number {
  const backoff = createBackoff({ baseMs: 250, factor: 2, maxMs: 60_000, jitter: 0.2, random });
  let delayMs = 0;
  for (let failure = 0; failure < Math.min(failures, 12); failure += 1) delayMs = backoff.next();
  return delayMs;
}

/** Serves probes, metrics and, if enabled in the configuration, `/debug/state`. */
async function serveOps(
  metrics: Metrics,
  { ops: { host, port, debugState } }: Config,
  log: Logger,
  {
    upstreams,
    connections,
    sets,
    registries,
    registryReader,
  }: OperatorStores & {
    readonly registryReader: ServiceRegistries | undefined;
  },
  run: { readonly controller: Controller | undefined },
  state: OperatorState,
): Promise<OpsServer> {
  collectState(metrics, state);
  metrics.collect(METRICS.objects, () => objectSamples(upstreams, connections, sets, registries));
  const facts = () => registryReader?.allFacts() ?? [];
  metrics.collect(METRICS.registryServices, () => registryServiceSamples(facts()));
  metrics.collect(METRICS.registryAnswerAge, () => registryAgeSamples(facts(), clock.now()));
  metrics.collect(METRICS.dataPlanesLagging, () =>
    [...(run.controller?.laggingDataPlanes() ?? [])].map(([connection, value]) => ({
      labels: { connection },
      value,
    })),
  );
  const readState = async () => ({ ...stateOf(state), ...(await run.controller?.debugState()) });
  const server = await startOpsServer({
    host,
    port,
    checks: state.checks,
    metrics,
    ...(debugState ? { debugState: readState } : {}),
  });
  log.info({ opsHost: host, opsPort: server.port }, 'serving /livez, /readyz and /metrics');
  return server;
}

type OperatorStores = ReturnType<typeof createStores>;

/** Creates a cache for every watched kind. `/readyz` and `/debug/state` list them in this order. */
function createStores(caches: Caches, { followedResources: resources, registries }: Catalog, config: Config) {
  const { operatorNamespace, secretNamespaces } = config;
  return {
    upstreams: caches.watch(resources.upstreams),
    connections: caches.watch(resources.connections),
    sets: caches.watch(resources.sets),
    namespaces: caches.watch(resources.namespaces),
    secrets: caches.watchIn(operatorNamespace, resources.secrets),
    certificates: new Map(
      secretNamespaces.map((namespace) => [namespace, caches.watchIn(namespace, resources.certificates)]),
    ),
    services: caches.watch(resources.services),
    slices: caches.watch(resources.slices),
    grants: caches.watch(resources.grants),
    ...(registries === undefined || !config.watchRegistries ? {} : { registries: caches.watch(registries) }),
    ...(config.watchNodes ? { nodes: caches.watch(resources.nodes) } : {}),
    ...(config.readEndpoints ? { endpoints: caches.watch(resources.endpoints) } : {}),
  };
}
