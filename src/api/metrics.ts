/** One metric: what Prometheus is told of it, and what the reference documentation is made from. */
interface Definition {
  readonly name: `gateway_upstream_operator_${string}`;
  readonly type: 'gauge' | 'counter' | 'histogram';
  /** What it means, without a unit that the name has already. */
  readonly help: string;
  readonly labels: readonly string[];
}

/**
 * The closed set of metrics of the program; those of the process come besides. No label names an object, but for
 * connections that exist, which are few.
 */
export const METRICS = {
  leader: {
    name: 'gateway_upstream_operator_leader',
    type: 'gauge',
    help: '1 if this replica may write.',
    labels: [],
  },
  readyCheck: {
    name: 'gateway_upstream_operator_ready_check',
    type: 'gauge',
    help: '1 if this check of /readyz holds.',
    labels: ['check'],
  },
  permissionMissing: {
    name: 'gateway_upstream_operator_permission_missing',
    type: 'gauge',
    help: '1 for each permission that the operator lacks, with the role that should grant it.',
    labels: ['permission', 'role', 'namespace'],
  },
  objects: {
    name: 'gateway_upstream_operator_objects',
    type: 'gauge',
    help: 'Objects by what their conditions say, as the API server holds them; `connection` is empty where it does not exist. Every replica tells the same.',
    labels: ['kind', 'connection', 'type', 'status', 'reason'],
  },
  dataPlanesLagging: {
    name: 'gateway_upstream_operator_data_planes_lagging',
    type: 'gauge',
    help: 'Data planes that serve something else than what was written, or cannot be asked, by connections with controlApi.',
    labels: ['connection'],
  },
  watchAge: {
    name: 'gateway_upstream_operator_watch_age_seconds',
    type: 'gauge',
    help: 'Time since the API server last sent anything for this watch, bookmarks included.',
    labels: ['watch'],
  },
  watchLists: {
    name: 'gateway_upstream_operator_watch_lists_total',
    type: 'counter',
    help: 'Full lists that were begun: at the start, once an hour, and where a watch could not go on.',
    labels: ['watch'],
  },
  watchStarts: {
    name: 'gateway_upstream_operator_watch_starts_total',
    type: 'counter',
    help: 'Watches that were opened; the API server ends each after some minutes.',
    labels: ['watch'],
  },
  objectFailures: {
    name: 'gateway_upstream_operator_object_failures_total',
    type: 'counter',
    help: 'Objects of a watch for which a step failed: read, compare, index or notify. Only that object is affected; the log names it.',
    labels: ['watch', 'step'],
  },
  queueDepth: {
    name: 'gateway_upstream_operator_queue_depth',
    type: 'gauge',
    help: 'Keys that wait or run. Queues are `gateway` (one per connection, and one without a connection for upstreams whose connection does not exist), `connections`, `finalizers`, `sets`, `members of` each set, and `status`.',
    labels: ['queue', 'connection'],
  },
  queueWait: {
    name: 'gateway_upstream_operator_queue_wait_seconds',
    type: 'histogram',
    help: 'How long a key waited in its queue before it was looked at.',
    labels: ['queue', 'connection'],
  },
  propagation: {
    name: 'gateway_upstream_operator_propagation_seconds',
    type: 'histogram',
    help: 'From the arrival of a change of endpoints to the answer by which the gateway accepted it, retries and outages included.',
    labels: ['connection'],
  },
  writes: {
    name: 'gateway_upstream_operator_writes_total',
    type: 'counter',
    help: 'Writes to a gateway by operation (put, delete) and outcome: accepted, or the reason why not.',
    labels: ['connection', 'operation', 'outcome'],
  },
  writesSuppressed: {
    name: 'gateway_upstream_operator_writes_suppressed_total',
    type: 'counter',
    help: 'Looks at an object that found nothing to write.',
    labels: ['connection'],
  },
  errors: {
    name: 'gateway_upstream_operator_errors_total',
    type: 'counter',
    help: 'Failed requests to a gateway by reason, reads included. InternalError without a connection: a defect, told in the log.',
    labels: ['connection', 'reason'],
  },
  statusWrites: {
    name: 'gateway_upstream_operator_status_writes_total',
    type: 'counter',
    help: 'Writes of a status by kind and outcome: written or failed.',
    labels: ['kind', 'outcome'],
  },
} as const satisfies Readonly<Record<string, Definition>>;
