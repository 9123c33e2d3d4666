import { METRICS } from '../api/metrics.ts';
import type { Reason } from '../api/reasons.ts';
import type { Condition } from '../api/schema.ts';
import type { CustomKind } from '../kube/object-writer.ts';
import type { GatewayConnection, GatewayUpstream, GatewayUpstreamSet } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';
import type { Labels, Metrics, Sample } from '../runtime/metrics.ts';

/** What a write to a gateway is. */
export type WriteOperation = 'put' | 'delete';

/** Counts what happens, for metrics. Cheap enough for every reconcile; never throws. */
export interface Instruments {
  /** The connection has a session from now on. */
  opened(connection: string): void;
  /** The connection does not exist, and nothing is under way for it: its series go. */
  gone(connection: string): void;
  /** `queue` is gone: its series go, and those of its gateway. */
  idle(queue: string): void;
  /** A key of `queue` begins after this wait. */
  waited(queue: string, waitedMs: number): void;
  /** The gateway accepted a change of endpoints, so long after it arrived. */
  propagated(connection: string, elapsedMs: number): void;
  wrote(connection: string, operation: WriteOperation, outcome: 'accepted' | Reason): void;
  /** There was nothing to write. */
  suppressed(connection: string): void;
  /** `connection` is empty where no gateway is to blame. */
  failed(connection: string, reason: Reason): void;
  statusWritten(kind: CustomKind, outcome: 'written' | 'failed'): void;
}

const GATEWAY_QUEUE = 'gateway ';
export const CONNECTION_QUEUE = 'connections';
export const STATUS_QUEUE = 'status';

/** The queue of every upstream whose connection does not exist: tenants choose the names of those. */
export const UNKNOWN_GATEWAY_QUEUE = GATEWAY_QUEUE;

/** The queue of everything that is done for one gateway. */
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
  return {
    opened(connection) {
      for (const operation of ['put', 'delete']) {
        for (const outcome of ['accepted', 'GatewayUnavailable', 'Unauthorized', 'Rejected']) {
          writes({ connection, operation, outcome }, 0);
        }
      }
      writesSuppressed({ connection }, 0);
    },
    gone: (connection) => void metrics.forget({ connection }),
    idle(name) {
      const { queue, connection } = queueLabels(name);
      // What ran last may have counted something for its gateway.
      void metrics.forget(connection === '' ? { queue, connection } : { connection });
    },
    waited: (queue, waitedMs) => queueWait(queueLabels(queue), waitedMs / 1000),
    propagated: (connection, elapsedMs) => propagation({ connection }, elapsedMs / 1000),
    wrote: (connection, operation, outcome) => writes({ connection, operation, outcome }),
    suppressed: (connection) => writesSuppressed({ connection }),
    failed: (connection, reason) => errors({ connection, reason }),
    statusWritten: (kind, outcome) => statusWrites({ kind, outcome }),
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
): readonly Sample[] {
  const counts = new Map<string, { readonly labels: Labels; value: number }>();
  const count = (kind: CustomKind, name: string, conditions: readonly Condition[] = []) => {
    // Tenants choose the names of connections that do not exist.
    const connection = connections.get('', name) === undefined ? '' : name;
    for (const { type, status, reason } of conditions) {
      const key = `${kind} ${connection} ${type} ${status} ${reason}`;
      const entry = counts.get(key);
      if (entry === undefined) {
        counts.set(key, { labels: { kind, connection, type, status, reason }, value: 1 });
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
  return [...counts.values()];
}

function queueLabels(name: string): { readonly queue: string; readonly connection: string } {
  return name.startsWith(GATEWAY_QUEUE)
    ? { queue: 'gateway', connection: name.slice(GATEWAY_QUEUE.length) }
    : { queue: name, connection: '' };
}
