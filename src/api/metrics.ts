/** One metric. docs/metrics.md is generated from it. */
interface Definition {
  readonly name: `gateway_upstream_operator_${string}`;
  readonly type: 'gauge' | 'counter' | 'histogram';
  /** What it means. The unit is part of the name. */
  readonly help: string;
  readonly labels: readonly string[];
}

/**
 * All metrics of the program, besides those of the process. No label contains the name of an object, except of existing
 * GatewayConnections, which are few.
 */
export const METRICS = {
  leader: {
    name: 'gateway_upstream_operator_leader',
    type: 'gauge',
    help: '1 if this replica is the leader and may write.',
    labels: [],
  },
  readyCheck: {
    name: 'gateway_upstream_operator_ready_check',
    type: 'gauge',
    help: '1 if this check of /readyz passes.',
    labels: ['check'],
  },
  permissionMissing: {
    name: 'gateway_upstream_operator_permission_missing',
    type: 'gauge',
    help: '1 for each permission that the operator lacks. `role` is the role that should grant it.',
    labels: ['permission', 'role', 'namespace'],
  },
  objects: {
    name: 'gateway_upstream_operator_objects',
    type: 'gauge',
    help: 'Number of objects by the status and reason of their conditions in the API server. `connection` is empty if the GatewayConnection does not exist. Every replica reports the same values.',
    labels: ['kind', 'connection', 'type', 'status', 'reason'],
  },
  dataPlanesLagging: {
    name: 'gateway_upstream_operator_data_planes_lagging',
    type: 'gauge',
    help: 'Number of data planes that do not serve the last written configuration or do not respond, for each GatewayConnection with controlApi.',
    labels: ['connection'],
  },
  watchAge: {
    name: 'gateway_upstream_operator_watch_age_seconds',
    type: 'gauge',
    help: 'Time since the API server last sent an event for this watch, bookmarks included.',
    labels: ['watch'],
  },
  watchLists: {
    name: 'gateway_upstream_operator_watch_lists_total',
    type: 'counter',
    help: 'Full lists started: when the operator starts, once an hour, and when a watch cannot be resumed.',
    labels: ['watch'],
  },
  watchStarts: {
    name: 'gateway_upstream_operator_watch_starts_total',
    type: 'counter',
    help: 'Watches opened. The API server closes each watch after some minutes.',
    labels: ['watch'],
  },
  objectFailures: {
    name: 'gateway_upstream_operator_object_failures_total',
    type: 'counter',
    help: 'Failures to process an object of a watch, by step: read, compare, index or notify. Only that object is affected. The log names it.',
    labels: ['watch', 'step'],
  },
  queueDepth: {
    name: 'gateway_upstream_operator_queue_depth',
    type: 'gauge',
    help: 'Number of waiting and running keys. Queues are `gateway` (one for each GatewayConnection, and one for upstreams whose GatewayConnection does not exist), `connections`, `finalizers`, `sets`, `members of` each set, and `status`.',
    labels: ['queue', 'connection'],
  },
  queueWait: {
    name: 'gateway_upstream_operator_queue_wait_seconds',
    type: 'histogram',
    help: 'Time that a key waited in its queue before it was processed.',
    labels: ['queue', 'connection'],
  },
  propagation: {
    name: 'gateway_upstream_operator_propagation_seconds',
    type: 'histogram',
    help: 'Time from the arrival of an endpoint change until the gateway confirmed the write, retries and outages included.',
    labels: ['connection'],
  },
  writes: {
    name: 'gateway_upstream_operator_writes_total',
    type: 'counter',
    help: 'Writes to a gateway, by operation (put, delete) and outcome: accepted, or the reason for the failure.',
    labels: ['connection', 'operation', 'outcome'],
  },
  writesSuppressed: {
    name: 'gateway_upstream_operator_writes_suppressed_total',
    type: 'counter',
    help: 'Reconciliations that found nothing to write.',
    labels: ['connection'],
  },
  errors: {
    name: 'gateway_upstream_operator_errors_total',
    type: 'counter',
    help: 'Failed requests to a gateway, reads included, by reason. InternalError without a connection is a defect in the operator; the log has the details.',
    labels: ['connection', 'reason'],
  },
  statusWrites: {
    name: 'gateway_upstream_operator_status_writes_total',
    type: 'counter',
    help: 'Status writes, by kind and outcome: written or failed.',
    labels: ['kind', 'outcome'],
  },
} as const satisfies Readonly<Record<string, Definition>>;
