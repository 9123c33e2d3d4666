import { METRICS } from '../api/metrics.ts';
import type { Reason } from '../api/reasons.ts';
import type { Condition } from '../api/schema.ts';
import type { CustomKind } from '../kube/object-writer.ts';
import type {
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  ServiceRegistry,
} from '../model/objects.ts';
import type { RegistryErrorReason, RegistryFacts } from '../model/registry-facts.ts';
import type { StoreView } from '../model/store-view.ts';
import type { Labels, Metrics, Sample } from '../runtime/metrics.ts';

export type WriteOperation = 'put' | 'delete';

/** Records metrics. Cheap enough for every reconcile; never throws. */
export interface Instruments {
  /** A session of the connection starts. */
  opened(connection: string): void;
  /** Removes the series of a connection that was deleted and has no running work. */
  connectionDeleted(connection: string): void;
  /** Removes the series of `queue` and of its gateway. */
  queueDropped(queue: string): void;
  /** A key of `queue` starts to run after this wait. */
  waited(queue: string, waitedMs: number): void;
  /** The gateway accepted an endpoint change `elapsedMs` after the change arrived. */
  propagated(connection: string, elapsedMs: number): void;
  wrote(connection: string, operation: WriteOperation, outcome: 'accepted' | Reason): void;
  /** A reconcile had nothing to write. */
  suppressed(connection: string): void;
  /** `connection` is empty if the failure does not concern a gateway. */
  failed(connection: string, reason: Reason): void;
  statusWritten(kind: CustomKind, outcome: 'written' | 'failed'): void;
  /** A registry is followed. */
  registryOpened(registry: string, reasons: readonly RegistryErrorReason[]): void;
  registryRequested(registry: string): void;
  registryFailed(registry: string, reason: RegistryErrorReason): void;
  /** Removes the series of a ServiceRegistry that was deleted and has no request under way. */
  registryDeleted(registry: string): void;
}

const GATEWAY_QUEUE = 'gateway ';
export const CONNECTION_QUEUE = 'connections';
export const STATUS_QUEUE = 'status';

/**
 * One queue for all upstreams whose connection does not exist. Tenants choose these names, so a queue for each name would be
 * unbounded.
 */
export const UNKNOWN_GATEWAY_QUEUE = GATEWAY_QUEUE;

/** The queue of one gateway. */
export function gatewayQueue(connection: string): string {
  return `${GATEWAY_QUEUE}${connection}`;
}

export function createInstruments(metrics: Metrics): Instruments {
  const queueWait = metrics.histogram(METRICS.queueWait);
  const propagation = metrics.histogram(METRICS.propagation);
  const writes = metrics.counter(METRICS.writes);
  const writesSuppressed = metrics.counter(METRICS.writesSuppressed);
  const errors = metrics.counter(METRICS.errors);
  const statusWrites = metrics.counter(METRICS.statusWrites);
  const registryRequests = metrics.counter(METRICS.registryRequests);
  const registryErrors = metrics.counter(METRICS.registryErrors);
  return {
    opened(connection) {
      for (const operation of ['put', 'delete']) {
        for (const outcome of ['accepted', 'GatewayUnavailable', 'Unauthorized', 'Rejected']) {
          writes({ connection, operation, outcome }, 0);
        }
      }
      writesSuppressed({ connection }, 0);
    },
    connectionDeleted: (connection) => void metrics.forget({ connection }),
    queueDropped(name) {
      const { queue, connection } = queueLabels(name);
      // The last run may have recorded series of its gateway.
      void metrics.forget(connection === '' ? { queue, connection } : { connection });
    },
    waited: (queue, waitedMs) => queueWait(queueLabels(queue), waitedMs / 1000),
    propagated: (connection, elapsedMs) => propagation({ connection }, elapsedMs / 1000),
    wrote: (connection, operation, outcome) => writes({ connection, operation, outcome }),
    suppressed: (connection) => writesSuppressed({ connection }),
    failed: (connection, reason) => errors({ connection, reason }),
    statusWritten: (kind, outcome) => statusWrites({ kind, outcome }),
    registryOpened(registry, reasons) {
      registryRequests({ registry }, 0);
      for (const reason of reasons) registryErrors({ registry, reason }, 0);
    },
    registryRequested: (registry) => registryRequests({ registry }),
    registryFailed: (registry, reason) => registryErrors({ registry, reason }),
    registryDeleted: (registry) => void metrics.forget({ registry }),
  };
}

/** Samples of `METRICS.queueDepth`. */
export function depthSamples(depths: ReadonlyMap<string, number>): readonly Sample[] {
  return [...depths].map(([queue, value]) => ({ labels: queueLabels(queue), value }));
}

/** Samples of `METRICS.objects`. */
export function objectSamples(
  upstreams: StoreView<GatewayUpstream>,
  connections: StoreView<GatewayConnection>,
  sets: StoreView<GatewayUpstreamSet>,
  registries?: StoreView<ServiceRegistry>,
): readonly Sample[] {
  const counts = new Map<string, { readonly labels: Labels; value: number }>();
  const count = (
    kind: CustomKind,
    name: string,
    conditions: readonly Condition[] = [],
    registry?: string,
  ) => {
    // Tenants choose the names of missing connections, so a label for each name would be unbounded.
    const connection = connections.get('', name) === undefined ? '' : name;
    for (const { type, status, reason } of conditions) {
      const key = `${kind} ${connection} ${registry} ${type} ${status} ${reason}`;
      const entry = counts.get(key);
      if (entry === undefined) {
        const labels = { kind, connection, type, status, reason };
        counts.set(key, { labels: registry === undefined ? labels : { ...labels, registry }, value: 1 });
      } else entry.value += 1;
    }
  };
  for (const { connection, status } of upstreams.list()) {
    count('GatewayUpstream', connection, status?.conditions);
  }
  for (const { name, status } of connections.list()) count('GatewayConnection', name, status?.conditions);
  for (const { spec, status } of sets.list()) {
    const connection = spec.ok ? spec.value.template.spec.connectionRef.name : '';
    count('GatewayUpstreamSet', connection, status?.conditions);
  }
  for (const { name, status } of registries?.list() ?? []) {
    count('ServiceRegistry', '', status?.conditions, name);
  }
  return [...counts.values()];
}

/** Samples of `METRICS.registryServices`. */
export function registryServiceSamples(
  registries: Iterable<readonly [string, RegistryFacts]>,
): readonly Sample[] {
  return [...registries].flatMap(([registry, { services }]) =>
    Object.entries(services).map(([state, value]) => ({ labels: { registry, state }, value })),
  );
}

/** Samples of `METRICS.registryAnswerAge`. `now`: wall clock, milliseconds. */
export function registryAgeSamples(
  registries: Iterable<readonly [string, RegistryFacts]>,
  now: number,
): readonly Sample[] {
  return [...registries].flatMap(([registry, { lastCompleteAnswerAt, services }]) => {
    const isFollowed = Object.values(services).some((count) => count > 0);
    if (lastCompleteAnswerAt === undefined || !isFollowed) return [];
    return [{ labels: { registry }, value: Math.max(0, now - lastCompleteAnswerAt) / 1000 }];
  });
}

function queueLabels(name: string): { readonly queue: string; readonly connection: string } {
  return name.startsWith(GATEWAY_QUEUE)
    ? { queue: 'gateway', connection: name.slice(GATEWAY_QUEUE.length) }
    : { queue: name, connection: '' };
}
