import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET, SERVICE_REGISTRY } from './api/crd.ts';
import { GROUP, OPERATOR, VERSION } from './api/group.ts';
import { METRICS } from './api/metrics.ts';
import type { Catalog } from './catalog.ts';
import type { Config } from './config/config.ts';
import { grantIndexes } from './decide/references.ts';
import { upstreamIndexes } from './decide/upstream-indexes.ts';
import { type Controller, createController } from './engine/controller.ts';
import { createInstruments, objectSamples } from './engine/instruments.ts';
import { ObjectStates } from './engine/object-state.ts';
import { createReporter } from './engine/status/reporter.ts';
import { createCaches } from './kube/caches.ts';
import { createEventRecorder } from './kube/event-recorder.ts';
import { loadKubeConfig } from './kube/kubeconfig.ts';
import { createLeaderElection, guardWrites, type LeaseStanding, UNOPPOSED } from './kube/leader.ts';
import { createMemberWriter } from './kube/member-writer.ts';
import { createObjectWriter } from './kube/object-writer.ts';
import {
  CERTIFICATE_SECRETS,
  NO_HELM_RELEASES,
  REFERENCE_GRANT,
  transformCertificateSecret,
  transformNamespace,
  transformNode,
  transformReferenceGrant,
  transformSecret,
  unreadableReferenceGrant,
} from './kube/objects.ts';
import { createPermissionMonitor, describePermission, type Permission } from './kube/permissions.ts';
import { permissionsOf } from './kube/rbac.ts';
import type { Reflector } from './kube/reflector.ts';
import { OBJECT_STEPS } from './kube/store.ts';
import { createTransport } from './kube/transport.ts';
import type { Stored, StoreView } from './model/store-view.ts';
import { createBackoff } from './runtime/backoff.ts';
import { systemClock } from './runtime/clock.ts';
import type { Logger } from './runtime/logger.ts';
import { createMetrics, type Metrics, type Sample } from './runtime/metrics.ts';
import { type ReadinessCheck, startOpsServer } from './runtime/ops-server.ts';
import { Pace } from './runtime/pace.ts';
import { createKubernetesSource } from './sources/kubernetes/source.ts';
import {
  SLICES_OF_SERVICES,
  serviceIndexes,
  sliceIndexes,
  transformEndpoints,
  transformService,
  transformSlice,
  UNMANAGED_ENDPOINTS,
  unreadableEndpoints,
  unreadableService,
  unreadableSlice,
} from './sources/kubernetes/transform.ts';
import { ServiceRegistries } from './sources/registries.ts';
import { combineSources } from './sources/sources.ts';

/** Without a byte from a watch for this long, bookmarks included, the operator is not ready. */
const WATCH_SILENT_MS = 240_000;

/** Runs the operator until the signal aborts. Rejects if it cannot start, and with `LeaseLostError` when it may write no more. */
export async function runOperator(
  catalog: Catalog,
  config: Config,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const clock = systemClock;
  const { random } = Math;
  const transport = createTransport({
    kubeConfig: loadKubeConfig(config.kubeconfig),
    userAgent: OPERATOR,
    reload: () => loadKubeConfig(config.kubeconfig),
    onRefused: (path) => permissions.refused(path),
  });
  const permissions = createPermissionMonitor({
    transport,
    permissions: permissionsNeeded(catalog, config),
    clock,
    log,
    intervalMs: config.permissionCheckInterval,
  });
  const metrics = createMetrics();
  const objectFailures = metrics.counter(METRICS.objectFailures);
  const caches = createCaches({
    transport,
    clock,
    random,
    log,
    namespaces: config.namespaces,
    onObjectFailure: (watch, step) => objectFailures({ watch, step }),
  });
  const { reflectors } = caches;
  const custom = { group: GROUP, version: VERSION };
  const core = { group: '', version: 'v1' };
  const upstreams = caches.followNamespaced({
    resource: { ...custom, plural: GATEWAY_UPSTREAM.plural },
    trim: catalog.transforms.gatewayUpstream,
    indexes: upstreamIndexes,
  });
  const connections = caches.follow({
    resource: { ...custom, plural: GATEWAY_CONNECTION.plural },
    trim: catalog.transforms.gatewayConnection,
  });
  const sets = caches.follow({
    resource: { ...custom, plural: GATEWAY_UPSTREAM_SET.plural },
    // A cluster with the CRDs of an older release has no sets, and all else goes on.
    optional: true,
    trim: catalog.transforms.gatewayUpstreamSet,
  });
  const namespaces = caches.follow({ resource: { ...core, plural: 'namespaces' }, trim: transformNamespace });
  const secrets = caches.follow({
    resource: { ...core, plural: 'secrets', namespace: config.operatorNamespace },
    trim: transformSecret,
    query: NO_HELM_RELEASES,
  });
  const certificates = new Map(
    config.secretNamespaces.map((namespace) => [
      namespace,
      caches.follow({
        // Those of connections may be in the same namespace.
        name: 'certificates',
        resource: { ...core, plural: 'secrets', namespace },
        trim: transformCertificateSecret,
        query: CERTIFICATE_SECRETS,
      }),
    ]),
  );
  const services = caches.followNamespaced({
    resource: { ...core, plural: 'services' },
    trim: transformService,
    unreadable: unreadableService,
    indexes: serviceIndexes,
  });
  const slices = caches.followNamespaced({
    resource: { group: 'discovery.k8s.io', version: 'v1', plural: 'endpointslices' },
    trim: transformSlice,
    unreadable: unreadableSlice,
    indexes: sliceIndexes,
    query: SLICES_OF_SERVICES,
  });
  const { olderVersion, ...newest } = REFERENCE_GRANT;
  const grants = caches.followNamespaced({
    resource: newest,
    olderVersion,
    optional: true,
    trim: transformReferenceGrant,
    unreadable: unreadableReferenceGrant,
    indexes: grantIndexes,
  });

  const nodes = config.watchNodes
    ? caches.follow({ resource: { ...core, plural: 'nodes' }, trim: transformNode })
    : undefined;
  const endpoints = config.readEndpoints
    ? caches.followNamespaced({
        resource: { ...core, plural: 'endpoints' },
        trim: transformEndpoints,
        unreadable: unreadableEndpoints,
        query: UNMANAGED_ENDPOINTS,
      })
    : undefined;

  const { serviceRegistry } = catalog.transforms;
  const registries =
    serviceRegistry === undefined
      ? undefined
      : caches.follow({ resource: { ...custom, plural: SERVICE_REGISTRY.plural }, trim: serviceRegistry });

  for (const { name } of reflectors) {
    for (const step of OBJECT_STEPS) objectFailures({ watch: name, step }, 0);
  }

  const source = combineSources({
    Kubernetes: createKubernetesSource({
      services,
      slices,
      ...(endpoints === undefined ? {} : { endpoints }),
    }),
    ...(registries === undefined
      ? {}
      : {
          Registry: new ServiceRegistries({
            registries,
            secrets,
            operatorNamespace: config.operatorNamespace,
            types: catalog.registryTypes,
            clock,
            random,
            log,
          }),
        }),
  });
  const { enabled, leaseName, leaseDuration, renewDeadline, retryPeriod } = config.leaderElection;
  const election = enabled
    ? createLeaderElection({
        transport,
        clock,
        log,
        namespace: config.operatorNamespace,
        leaseName,
        identity: `${hostname()}-${randomBytes(4).toString('hex')}`,
        leaseDurationMs: leaseDuration,
        renewDeadlineMs: renewDeadline,
        retryPeriodMs: retryPeriod,
      })
    : UNOPPOSED;
  const guarded = guardWrites(transport, election.mayWrite);
  const writer = createObjectWriter(guarded);
  const backoffMs = (failures: number) => {
    const backoff = createBackoff({ baseMs: 250, factor: 2, maxMs: 60_000, jitter: 0.2, random });
    let delayMs = 0;
    for (let failure = 0; failure < Math.min(failures, 12); failure += 1) delayMs = backoff.next();
    return delayMs;
  };
  const events = createEventRecorder({
    transport: guarded,
    clock,
    random,
    log,
    instance: hostname(),
    signal,
    isTerminating: (namespace) => namespaces.get('', namespace)?.terminating ?? false,
  });
  const instruments = createInstruments(metrics);
  using pace = new Pace(clock);
  const states = new ObjectStates(clock);
  const reporter = createReporter({
    states,
    writer,
    events,
    clock,
    log,
    backoffMs,
    countsEveryMs: 10_000,
    concurrency: config.statusConcurrency,
    pace,
    instruments,
  });

  const checks: readonly ReadinessCheck[] = [
    ...reflectors.map(watchCheck),
    { name: 'permissions', problem: permissions.problem },
    { name: 'lease', problem: election.problem, note: () => leaseNote(election.standing()) },
  ];
  let controller: Controller | undefined;
  const state: OperatorState = {
    checks,
    reflectors,
    leads: election.mayWrite,
    lease: election.standing,
    missing: permissions.missing,
    depths: () => [...(controller?.depths() ?? []), ...reporter.depths()],
  };
  collectState(metrics, state);
  metrics.collect(METRICS.objects, () => objectSamples(upstreams, connections, sets));
  metrics.collect(METRICS.dataPlanesLagging, () =>
    [...(controller?.laggingDataPlanes() ?? [])].map(([connection, value]) => ({
      labels: { connection },
      value,
    })),
  );
  const debugState = async () => ({ ...stateOf(state), ...(await controller?.debugState()) });
  await using ops = await startOpsServer({
    host: config.ops.host,
    port: config.ops.port,
    checks,
    metrics,
    ...(config.ops.debugState ? { debugState } : {}),
  });
  log.info({ opsHost: config.ops.host, opsPort: ops.port }, 'answering /livez, /readyz and /metrics');
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const running = [
    ...reflectors.map((reflector) => reflector.run(ended)),
    source.run(ended),
    permissions.run(ended),
  ];
  try {
    const clusterId = config.clusterId ?? (await clusterUid(namespaces, ended));
    if (clusterId === undefined) return;
    log.info({ clusterId, operatorNamespace: config.operatorNamespace }, 'starting');
    const made = createController({
      ...config,
      vendorOf: catalog.vendor,
      states,
      clusterId,
      upstreams,
      connections,
      sets,
      services,
      namespaces,
      grants,
      onlyNamespaces: config.namespaces,
      secrets,
      certificates,
      source,
      ...(nodes === undefined ? {} : { nodes }),
      ...(registries === undefined ? {} : { registries }),
      permissions,
      writer,
      memberWriter: createMemberWriter(guarded),
      reporter,
      pace,
      clock,
      random,
      log,
      backoffMs,
      resyncMs: config.resyncInterval,
      requestTimeoutMs: config.requestTimeout,
      mayWrite: election.mayWrite,
      instruments,
    });
    controller = made;
    await election.run((leading) => made.run(leading), signal);
  } finally {
    stop.abort();
    await Promise.allSettled(running);
    await transport.close();
  }
}

/** What an operator with this configuration asks of the API server. */
export function permissionsNeeded(catalog: Catalog, config: Config): readonly Permission[] {
  return permissionsOf({
    namespace: config.operatorNamespace,
    namespaces: config.namespaces,
    secretNamespaces: config.secretNamespaces,
    leaderElection: config.leaderElection.enabled,
    leaseName: config.leaderElection.leaseName,
    roleName: config.roleName,
    watchNodes: config.watchNodes,
    readEndpoints: config.readEndpoints,
    registries: catalog.registryTypes.length > 0,
  });
}

/** What the program knows of itself. */
interface OperatorState {
  readonly checks: readonly ReadinessCheck[];
  readonly reflectors: readonly Reflector[];
  readonly leads: () => boolean;
  readonly lease: () => LeaseStanding | undefined;
  readonly missing: () => readonly Permission[];
  readonly depths: () => readonly Sample[];
}

function collectState(metrics: Metrics, { checks, reflectors, leads, missing, depths }: OperatorState): void {
  metrics.collect(METRICS.leader, () => [{ labels: {}, value: leads() ? 1 : 0 }]);
  metrics.collect(METRICS.readyCheck, () =>
    checks.map(({ name, problem }) => ({
      labels: { check: name },
      value: problem() === undefined ? 1 : 0,
    })),
  );
  metrics.collect(METRICS.permissionMissing, () =>
    missing().map((permission) => ({
      labels: {
        permission: describePermission(permission),
        role: `${permission.grantedBy.kind} ${permission.grantedBy.name}`,
        namespace: permission.namespace ?? '',
      },
      value: 1,
    })),
  );
  metrics.collect(METRICS.queueDepth, depths);
  const ofWatches = (value: (reflector: Reflector) => number) => () =>
    reflectors.map((reflector) => ({ labels: { watch: reflector.name }, value: value(reflector) }));
  metrics.collect(METRICS.watchAge, ofWatches(ageSeconds));
  metrics.collect(
    METRICS.watchLists,
    ofWatches((reflector) => reflector.health().lists),
  );
  metrics.collect(
    METRICS.watchStarts,
    ofWatches((reflector) => reflector.health().watches),
  );
}

/** For `/debug/state`; the controller tells the rest. */
function stateOf({ reflectors, leads, lease, depths }: OperatorState): object {
  return {
    leader: leads(),
    lease: lease(),
    watches: reflectors.map((reflector) => ({
      name: reflector.name,
      state: reflector.health().state,
      lastError: reflector.health().lastError,
      ageSeconds: ageSeconds(reflector),
    })),
    queues: depths(),
  };
}

/** For `/readyz`: a standby is ready, and says why it does nothing. */
function leaseNote(standing: LeaseStanding | undefined): string | undefined {
  if (standing === undefined) return undefined;
  const { role, lease } = standing;
  if (standing.role === 'standby') return `standby, waits for ${standing.waitsFor}`;
  return role === 'leader' ? `leads by Lease ${lease}` : `no longer has Lease ${lease}, and ends`;
}

/** Since the API server was last heard; where it never was, since the process began. */
function ageSeconds(reflector: Reflector): number {
  return (systemClock.monotonic() - (reflector.health().lastContactAt ?? 0)) / 1000;
}

/** The uid of namespace kube-system, the same as long as the cluster lives; undefined if the signal aborts first. */
function clusterUid(namespaces: StoreView<Stored>, signal: AbortSignal): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const look = () => {
    const uid = namespaces.get('', 'kube-system')?.uid;
    if (uid !== undefined) resolve(uid);
  };
  const listener = namespaces.onChange(look);
  look();
  signal.addEventListener('abort', () => resolve(undefined), { once: true });
  return promise.finally(() => listener[Symbol.dispose]());
}

function watchCheck(reflector: Reflector): ReadinessCheck {
  return {
    name: reflector.name,
    problem: () => {
      const { state, lastContactAt, lastError } = reflector.health();
      const why = lastError === undefined ? '' : `: ${lastError}`;
      if (state !== 'synced' && !(state === 'absent' && reflector.optional)) return `${state}${why}`;
      const silentMs = systemClock.monotonic() - (lastContactAt ?? Number.NEGATIVE_INFINITY);
      return silentMs > WATCH_SILENT_MS
        ? `no word from the API server for ${Math.round(silentMs / 1000)} s${why}`
        : undefined;
    },
  };
}
