/** One metric. Prometheus exposes it, and `docs/metrics.md` is generated from it. */
interface Definition {
  readonly name: `gateway_upstream_operator_${string}`;
  readonly type: 'gauge' | 'counter' | 'histogram';
  /** Starts with what is counted or measured. */
  readonly help: string;
  readonly labels: readonly string[];
}

/**
 * All metrics of the operator, besides the process metrics of prom-client. The only object names in labels are those of
 * existing GatewayConnections and ServiceRegistries, so that the number of series stays small.
 */
export const METRICS = {
  leader: {
    name: 'gateway_upstream_operator_leader',
    type: 'gauge',
    help: 'Whether this replica is the leader: 1 for the leader, 0 for a standby replica. Only the leader writes.',
    labels: [],
  },
  readyCheck: {
    name: 'gateway_upstream_operator_ready_check',
    type: 'gauge',
    help: 'Whether this check of /readyz passes: 1 if it passes, 0 if it fails.',
    labels: ['check'],
  },
  permissionMissing: {
    name: 'gateway_upstream_operator_permission_missing',
    type: 'gauge',
    help: 'Missing permissions of the operator: 1 for each, with the role that should grant it.',
    labels: ['permission', 'role', 'namespace'],
  },
  objects: {
    name: 'gateway_upstream_operator_objects',
    type: 'gauge',
    help: 'Number of objects by condition type, status and reason, as stored in the API server. The label connection is empty if the GatewayConnection does not exist. Only ServiceRegistries have the label registry. Every replica reports the same values.',
    labels: ['kind', 'connection', 'registry', 'type', 'status', 'reason'],
  },
  dataPlanesLagging: {
    name: 'gateway_upstream_operator_data_planes_lagging',
    type: 'gauge',
    help: 'Number of data planes that do not serve the current configuration or do not answer. Only for GatewayConnections with controlApi.',
    labels: ['connection'],
  },
  watchAge: {
    name: 'gateway_upstream_operator_watch_age_seconds',
    type: 'gauge',
    help: 'Seconds since the API server last sent data for this watch. Bookmarks count as data.',
    labels: ['watch'],
  },
  watchLists: {
    name: 'gateway_upstream_operator_watch_lists_total',
    type: 'counter',
    help: 'Number of full lists started. The operator lists at startup, once an hour, and when it cannot resume a watch.',
    labels: ['watch'],
  },
  watchStarts: {
    name: 'gateway_upstream_operator_watch_starts_total',
    type: 'counter',
    help: 'Number of watches opened. The API server closes each watch after 5 to 10 minutes.',
    labels: ['watch'],
  },
  objectFailures: {
    name: 'gateway_upstream_operator_object_failures_total',
    type: 'counter',
    help: 'Number of failures to process a single object, by step: read, compare, index or notify. Other objects are not affected. The log names the object.',
    labels: ['watch', 'step'],
  },
  queueDepth: {
    name: 'gateway_upstream_operator_queue_depth',
    type: 'gauge',
    help: 'Number of keys that are waiting or being processed. Queues: gateway (one per GatewayConnection, and one with an empty connection for GatewayUpstreams whose GatewayConnection does not exist), connections, finalizers, sets, members of each set, registries, and status.',
    labels: ['queue', 'connection'],
  },
  queueWait: {
    name: 'gateway_upstream_operator_queue_wait_seconds',
    type: 'histogram',
    help: 'Seconds that a key waited in its queue before processing started.',
    labels: ['queue', 'connection'],
  },
  propagation: {
    name: 'gateway_upstream_operator_propagation_seconds',
    type: 'histogram',
    help: 'Seconds between the arrival of an endpoint change and its acceptance by the gateway, including retries and outages.',
    labels: ['connection'],
  },
  writes: {
    name: 'gateway_upstream_operator_writes_total',
    type: 'counter',
    help: 'Number of writes to a gateway, by operation (put, which includes updates of nodes only, or delete) and outcome (accepted, or the reason for the failure).',
    labels: ['connection', 'operation', 'outcome'],
  },
  writesSuppressed: {
    name: 'gateway_upstream_operator_writes_suppressed_total',
    type: 'counter',
    help: 'Number of reconciliations that needed no write to the gateway.',
    labels: ['connection'],
  },
  errors: {
    name: 'gateway_upstream_operator_errors_total',
    type: 'counter',
    help: 'Number of failed requests to a gateway, by reason, including reads. InternalError with an empty connection is a defect in the operator; the log has the details.',
    labels: ['connection', 'reason'],
  },
  registryServices: {
    name: 'gateway_upstream_operator_registry_services',
    type: 'gauge',
    help: 'Number of services of a ServiceRegistry that this replica follows, by state: current, waiting (no answer yet), failing (no complete answer) or refused (no complete answer for a reason that concerns only this service). Only the leader follows services.',
    labels: ['registry', 'state'],
  },
  registryAnswerAge: {
    name: 'gateway_upstream_operator_registry_answer_age_seconds',
    type: 'gauge',
    help: 'Seconds since the registry last gave a complete answer about a followed service. Absent while no service is followed. A registry that waits for changes may answer only once a minute.',
    labels: ['registry'],
  },
  registryRequests: {
    name: 'gateway_upstream_operator_registry_requests_total',
    type: 'counter',
    help: 'Number of requests to a registry, including probes while no service is followed. A query that waits for a change counts once.',
    labels: ['registry'],
  },
  registryErrors: {
    name: 'gateway_upstream_operator_registry_errors_total',
    type: 'counter',
    help: 'Number of requests to a registry without a complete answer, by reason: Unreachable, Unauthorized, Filtered (access rules hide instances), ServerError, InvalidAnswer or SecretMissing.',
    labels: ['registry', 'reason'],
  },
  statusWrites: {
    name: 'gateway_upstream_operator_status_writes_total',
    type: 'counter',
    help: 'Number of status writes to the API server, by kind and outcome (written or failed).',
    labels: ['kind', 'outcome'],
  },
} as const satisfies Readonly<Record<string, Definition>>;
