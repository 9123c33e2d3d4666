import type { GatewayConnectionStatus } from '../../src/api/gateway-connection.ts';
import type { GatewayUpstreamStatus } from '../../src/api/gateway-upstream-status.ts';
import type { Stores } from '../../src/cli/plan/kinds.ts';
import { createController } from '../../src/engine/controller.ts';
import { createInstruments } from '../../src/engine/instruments.ts';
import { ObjectStates } from '../../src/engine/object-state.ts';
import { createReporter } from '../../src/engine/status/reporter.ts';
import type { KubeEvent } from '../../src/kube/event-recorder.ts';
import type { ObjectWriter } from '../../src/kube/object-writer.ts';
import { keyOf } from '../../src/model/keys.ts';
import type { ServiceRegistry } from '../../src/model/objects.ts';
import type { RegistryServiceRef } from '../../src/model/reference.ts';
import type { StoreView } from '../../src/model/store-view.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { createMetrics, type Metrics } from '../../src/runtime/metrics.ts';
import { Pace } from '../../src/runtime/pace.ts';
import { createKubernetesSource } from '../../src/sources/kubernetes/source.ts';
import type { DiscoverySource } from '../../src/sources/source.ts';
import { combineSources } from '../../src/sources/sources.ts';
import { vendorOf } from './catalog.ts';
import { finalizersOf } from './finalizers.ts';

/** The operator's controller with stores instead of a cluster. */
export interface RunningController extends AsyncDisposable {
  /** By `namespace/name`. */
  readonly statuses: ReadonlyMap<string, GatewayUpstreamStatus>;
  /** By name. */
  readonly connectionStatuses: ReadonlyMap<string, GatewayConnectionStatus>;
  /** The Events as `kind namespace/name reason: message`, in order. */
  readonly events: readonly string[];
  readonly metrics: Metrics;
  /** Whether no key waits or runs. */
  readonly isIdle: () => boolean;
}

export interface ControllerSettings {
  readonly clock: Clock;
  /** Replaces a part of the API server. Default: adds and removes finalizers, and accepts every status. */
  readonly writer?: Partial<ObjectWriter>;
  readonly onlyNamespaces?: readonly string[];
  readonly requestTimeoutMs?: number;
  readonly backoffMs?: (failures: number) => number;
  /** Default: no registry type is built in. */
  readonly registry?: DiscoverySource<RegistryServiceRef> & {
    readonly registries: StoreView<ServiceRegistry>;
  };
  /** Whether nodes keep their backend marks in the gateway. Default: as the vendor says. */
  readonly keepsBackendMarks?: boolean | undefined;
}

/** Disposing stops the controller, and throws if it logged an error. */
export function runController(stores: Stores, settings: ControllerSettings): RunningController {
  const { clock } = settings;
  const statuses = new Map<string, GatewayUpstreamStatus>();
  const connectionStatuses = new Map<string, GatewayConnectionStatus>();
  const events: string[] = [];
  const faults: unknown[] = [];
  const log: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: () => undefined,
    error: (fields) => faults.push(fields),
    child: () => log,
  };
  const pace = new Pace(clock);
  const metrics = createMetrics();
  const instruments = createInstruments(metrics);
  const backoffMs = settings.backoffMs ?? (() => 1000);
  const writer: ObjectWriter = {
    ...finalizersOf(stores),
    async applyStatus(kind, object, status) {
      if (kind === 'GatewayUpstream') statuses.set(keyOf(object), status);
      if (kind === 'GatewayConnection') connectionStatuses.set(object.name, status);
    },
    ...settings.writer,
  };
  const states = new ObjectStates(clock);
  const reporter = createReporter({
    states,
    writer,
    events: {
      record: (kind, object, { reason, message }: KubeEvent) =>
        events.push(`${kind} ${keyOf(object)} ${reason}: ${message}`),
    },
    pace,
    clock,
    log,
    backoffMs,
    countsEveryMs: 0,
    concurrency: 8,
    instruments,
  });
  const source = combineSources({
    Kubernetes: createKubernetesSource(stores),
    ...(settings.registry === undefined ? {} : { Registry: settings.registry }),
  });
  const controller = createController({
    ...stores,
    ...(settings.registry === undefined ? {} : { registries: settings.registry.registries }),
    vendorOf(type) {
      const vendor = vendorOf(type);
      const { keepsBackendMarks = vendor.format.keepsBackendMarks } = settings;
      return { ...vendor, format: { ...vendor.format, keepsBackendMarks } };
    },
    states,
    clusterId: 'kube-system-uid',
    operatorNamespace: 'gateway-upstream-operator',
    onlyNamespaces: settings.onlyNamespaces ?? [],
    source,
    permissions: { lacking: () => undefined, onChange: () => ({ [Symbol.dispose]: () => undefined }) },
    writer,
    memberWriter: { apply: async () => undefined, remove: async () => undefined },
    reporter,
    pace,
    clock,
    random: () => 0.5,
    log,
    backoffMs,
    resyncMs: 600_000,
    requestTimeoutMs: settings.requestTimeoutMs ?? 30_000,
    mayWrite: () => true,
    instruments,
  });
  const stop = new AbortController();
  const running = Promise.all([source.run(stop.signal), controller.run(stop.signal)]);
  return {
    statuses,
    connectionStatuses,
    events,
    metrics,
    isIdle: () => [...controller.depths(), ...reporter.depths()].every(({ value }) => value === 0),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      pace[Symbol.dispose]();
      if (faults.length > 0) throw new Error(`the controller failed: ${JSON.stringify(faults)}`);
    },
  };
}
