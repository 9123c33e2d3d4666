import { hostname } from 'node:os';
import { KubeConfig } from '@kubernetes/client-node';
import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM } from './api/crd.ts';
import { GROUP, OPERATOR, VERSION } from './api/group.ts';
import type { Config } from './config.ts';
import { createController, upstreamIndexes } from './controller/controller.ts';
import { createReporter } from './controller/reporter.ts';
import { createKubernetesSource, sliceIndexes, trimService, trimSlice } from './discovery/kubernetes.ts';
import { createEventRecorder } from './kube/event-recorder.ts';
import { createObjectWriter } from './kube/object-writer.ts';
import { trimGatewayConnection, trimGatewayUpstream, trimNamespace, trimSecret } from './kube/objects.ts';
import { createReflector, type Reflector } from './kube/reflector.ts';
import { createStore, type Stored, type StoreView } from './kube/store.ts';
import { createTransport, resourcePath } from './kube/transport.ts';
import { createBackoff } from './runtime/backoff.ts';
import { systemClock } from './runtime/clock.ts';
import type { Logger } from './runtime/logger.ts';
import { type ReadinessCheck, startOpsServer } from './runtime/ops-server.ts';

/** Without a byte from a watch for this long, bookmarks included, the operator is not ready. */
const WATCH_SILENT_MS = 240_000;

/** Runs the operator until the signal aborts. Rejects if it cannot start. */
export async function runOperator(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  const clock = systemClock;
  const { random } = Math;
  const transport = createTransport({ kubeConfig: loadKubeConfig(config.kubeconfig), userAgent: OPERATOR });
  const reflectors: Reflector[] = [];

  const follow = <T extends Stored>(
    name: string,
    resource: Parameters<typeof resourcePath>[0],
    trim: (raw: unknown) => T | undefined,
    options: {
      readonly indexes?: Record<string, (object: T) => readonly string[]>;
      readonly query?: Record<string, string>;
    } = {},
  ): StoreView<T> => {
    const kindLog = log.child({ kind: name });
    const store = createStore<T>({
      indexes: options.indexes ?? {},
      reportListenerError: (err) => kindLog.error({ err }, 'a listener failed'),
    });
    reflectors.push(
      createReflector({
        name,
        transport,
        path: resourcePath(resource),
        query: options.query ?? {},
        trim,
        store,
        clock,
        random,
        log: kindLog,
      }),
    );
    return store;
  };

  const custom = { group: GROUP, version: VERSION };
  const upstreams = follow(
    GATEWAY_UPSTREAM.plural,
    { ...custom, plural: GATEWAY_UPSTREAM.plural },
    trimGatewayUpstream,
    {
      indexes: upstreamIndexes,
    },
  );
  const connections = follow(
    GATEWAY_CONNECTION.plural,
    { ...custom, plural: GATEWAY_CONNECTION.plural },
    trimGatewayConnection,
  );
  const namespaces = follow('namespaces', { group: '', version: 'v1', plural: 'namespaces' }, trimNamespace);
  const secrets = follow(
    'secrets',
    { group: '', version: 'v1', plural: 'secrets', namespace: config.operatorNamespace },
    trimSecret,
    // Helm keeps every release in a Secret of this type: large, many, and never one of ours.
    { query: { fieldSelector: 'type!=helm.sh/release.v1' } },
  );
  const services = follow('services', { group: '', version: 'v1', plural: 'services' }, trimService);
  const slices = follow(
    'endpointslices',
    { group: 'discovery.k8s.io', version: 'v1', plural: 'endpointslices' },
    trimSlice,
    { indexes: sliceIndexes, query: { labelSelector: 'kubernetes.io/service-name' } },
  );

  const source = createKubernetesSource({ services, slices });
  const writer = createObjectWriter(transport);
  const backoffMs = (failures: number) => {
    const backoff = createBackoff({ baseMs: 250, factor: 2, maxMs: 60_000, jitter: 0.2, random });
    let delayMs = 0;
    for (let failure = 0; failure < Math.min(failures, 12); failure += 1) delayMs = backoff.next();
    return delayMs;
  };
  const events = createEventRecorder({
    transport,
    clock,
    random,
    log,
    instance: hostname(),
    signal,
    isTerminating: (namespace) => namespaces.get('', namespace)?.terminating ?? false,
  });
  const reporter = createReporter({
    writer,
    events,
    clock,
    log,
    backoffMs,
    countsEveryMs: 10_000,
    concurrency: config.statusConcurrency,
  });

  await using ops = await startOpsServer({ ...config.ops, checks: reflectors.map(watchCheck) });
  log.info({ opsHost: config.ops.host, opsPort: ops.port }, 'answering /livez and /readyz');
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const running = [...reflectors.map((reflector) => reflector.run(ended)), source.run(ended)];
  try {
    const clusterId = config.clusterId ?? (await clusterUid(namespaces, ended));
    if (clusterId === undefined) return;
    log.info({ clusterId, operatorNamespace: config.operatorNamespace }, 'starting');
    await createController({
      ...config,
      clusterId,
      upstreams,
      connections,
      namespaces,
      secrets,
      source,
      writer,
      reporter,
      clock,
      random,
      log,
      backoffMs,
      resyncMs: config.resyncInterval,
      requestTimeoutMs: config.requestTimeout,
    }).run(signal);
  } finally {
    stop.abort();
    await Promise.allSettled(running);
    await transport.close();
  }
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
      if (state !== 'synced') return `${state}${why}`;
      const silentMs = systemClock.monotonic() - (lastContactAt ?? Number.NEGATIVE_INFINITY);
      return silentMs > WATCH_SILENT_MS
        ? `no word from the API server for ${Math.round(silentMs / 1000)} s${why}`
        : undefined;
    },
  };
}

function loadKubeConfig(file: string | undefined): KubeConfig {
  const kubeConfig = new KubeConfig();
  if (file === undefined) kubeConfig.loadFromDefault();
  else kubeConfig.loadFromFile(file);
  return kubeConfig;
}
