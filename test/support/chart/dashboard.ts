interface Query {
  readonly expr: string;
  /** As in Grafana, with labels in `{{ }}`. */
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  readonly description: string;
  readonly unit: 'short' | 's' | 'ops' | 'bool';
  readonly queries: readonly Query[];
}

const on = (metric: string, labels = ''): string =>
  `gateway_upstream_operator_${metric}{namespace="$namespace",job="$job"${labels}}`;

const quantiles = (metric: string, by: string): readonly Query[] =>
  ['0.5', '0.99'].map((quantile) => ({
    expr: `histogram_quantile(${quantile}, sum by (${by}, le) (rate(${on(`${metric}_bucket`)}[$__rate_interval])))`,
    legend: `${quantile} ${by
      .split(', ')
      .map((label) => `{{${label}}}`)
      .join(' ')}`,
  }));

/** Two per row, in the order in which an on-call engineer reads them. */
const PANELS: readonly Panel[] = [
  {
    title: 'GatewayUpstreams by readiness',
    description: 'Number of GatewayUpstreams by status and reason of their Ready condition.',
    unit: 'short',
    queries: [
      {
        expr: `max by (connection, status, reason) (${on('objects', ',kind="GatewayUpstream",type="Ready"')})`,
        legend: '{{connection}} {{status}} {{reason}}',
      },
    ],
  },
  {
    title: 'Gateways with errors',
    description:
      'Conditions of GatewayConnections that are not True: the gateway is unreachable or rejects the operator.',
    unit: 'short',
    queries: [
      {
        expr: `max by (connection, type, reason) (${on('objects', ',kind="GatewayConnection",status!="True"')})`,
        legend: '{{connection}} {{type}} {{reason}}',
      },
    ],
  },
  {
    title: 'Propagation time',
    description:
      'Time from the arrival of an endpoint change to its acceptance by the gateway, including retries and outages.',
    unit: 's',
    queries: quantiles('propagation_seconds', 'connection'),
  },
  {
    title: 'Queue wait time',
    description:
      'Time that a key waits before processing starts. If it is most of the propagation time, raise spec.limits of the GatewayConnection.',
    unit: 's',
    queries: quantiles('queue_wait_seconds', 'queue, connection'),
  },
  {
    title: 'Writes to gateways',
    description: 'Writes by operation and outcome.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (connection, operation, outcome) (rate(${on('writes_total')}[$__rate_interval]))`,
        legend: '{{connection}} {{operation}} {{outcome}}',
      },
    ],
  },
  {
    title: 'Reconciliations without a write',
    description: 'The gateway already has the desired configuration, so the operator sends nothing.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (connection) (rate(${on('writes_suppressed_total')}[$__rate_interval]))`,
        legend: '{{connection}}',
      },
    ],
  },
  {
    title: 'Failed requests to gateways',
    description: 'Failed requests by reason, including reads.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (connection, reason) (rate(${on('errors_total')}[$__rate_interval]))`,
        legend: '{{connection}} {{reason}}',
      },
    ],
  },
  {
    title: 'Queue depth',
    description: 'Keys that are waiting or being processed.',
    unit: 'short',
    queries: [
      {
        expr: `sum by (queue, connection) (${on('queue_depth')})`,
        legend: '{{queue}} {{connection}}',
      },
    ],
  },
  {
    title: 'Registries with errors',
    description:
      'Conditions of ServiceRegistries that are not True: the registry is unreachable or rejects the credentials.',
    unit: 'short',
    queries: [
      {
        expr: `max by (registry, type, reason) (${on('objects', ',kind="ServiceRegistry",status!="True"')})`,
        legend: '{{registry}} {{type}} {{reason}}',
      },
    ],
  },
  {
    title: 'Services followed in registries',
    description:
      'Services by state. Failing and refused services keep their nodes in the gateway. The GatewayUpstreams that use them say why.',
    unit: 'short',
    queries: [
      {
        expr: `max by (registry, state) (${on('registry_services')})`,
        legend: '{{registry}} {{state}}',
      },
    ],
  },
  {
    title: 'Requests to registries',
    description: 'All requests, and those without a complete answer by reason.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (registry) (rate(${on('registry_requests_total')}[$__rate_interval]))`,
        legend: '{{registry}}',
      },
      {
        expr: `sum by (registry, reason) (rate(${on('registry_errors_total')}[$__rate_interval]))`,
        legend: '{{registry}} {{reason}}',
      },
    ],
  },
  {
    title: 'Age of the last answer of registries',
    description:
      'Time since the last complete answer about any followed service. It grows during an outage. Consul may be silent for a minute while nothing changes.',
    unit: 's',
    queries: [{ expr: `max by (registry) (${on('registry_answer_age_seconds')})`, legend: '{{registry}}' }],
  },
  {
    title: 'Watch age',
    description:
      'Time since the API server last sent data. It sends a bookmark about once a minute, so a healthy watch stays near or below 60 s.',
    unit: 's',
    queries: [{ expr: `max by (watch) (${on('watch_age_seconds')})`, legend: '{{watch}}' }],
  },
  {
    title: 'Lists and watches started',
    description: 'Frequent lists load the API server and mean that watches break and cannot be resumed.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (watch) (rate(${on('watch_lists_total')}[$__rate_interval]))`,
        legend: 'list {{watch}}',
      },
      {
        expr: `sum by (watch) (rate(${on('watch_starts_total')}[$__rate_interval]))`,
        legend: 'watch {{watch}}',
      },
    ],
  },
  {
    title: 'Lagging data planes',
    description:
      'Data planes that do not serve the current configuration or do not answer. Requires controlApi in the GatewayConnection.',
    unit: 'short',
    queries: [
      {
        expr: `max by (connection) (${on('data_planes_lagging')})`,
        legend: '{{connection}}',
      },
    ],
  },
  {
    title: 'Leader, readiness and permissions',
    description:
      'Leader: 1 for the replica that writes. Checks of /readyz: 1 if the check passes. Missing permissions: 1 for each.',
    unit: 'bool',
    queries: [
      { expr: on('leader'), legend: 'leader {{pod}}' },
      { expr: `min by (check) (${on('ready_check')})`, legend: '{{check}}' },
      {
        expr: `max by (permission) (${on('permission_missing')})`,
        legend: 'missing: {{permission}}',
      },
    ],
  },
  {
    title: 'Status writes',
    description:
      'Status writes to the API server by outcome. If only endpoint counts change, the operator writes a status at most every 10 s.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (kind, outcome) (rate(${on('status_writes_total')}[$__rate_interval]))`,
        legend: '{{kind}} {{outcome}}',
      },
    ],
  },
  {
    title: 'Memory',
    description: 'Resident memory of the operator process.',
    unit: 'short',
    queries: [
      {
        expr: 'process_resident_memory_bytes{namespace="$namespace",job="$job"}',
        legend: '{{pod}}',
      },
    ],
  },
  {
    title: 'Event loop lag',
    description:
      'Delay of the Node.js event loop (99th percentile). A high value delays every read and write.',
    unit: 's',
    queries: [
      { expr: 'nodejs_eventloop_lag_p99_seconds{namespace="$namespace",job="$job"}', legend: '{{pod}}' },
    ],
  },
];

/** `monitoring/dashboard.json` of the chart, as Grafana imports it. */
export function dashboardJson(): string {
  // Grafana's syntax for a variable.
  const datasource = { type: 'prometheus', uid: `\${datasource}` };
  const panels = PANELS.map(({ title, description, unit, queries }, index) => ({
    id: index + 1,
    type: 'timeseries',
    title,
    description,
    datasource,
    gridPos: { x: (index % 2) * 12, y: Math.floor(index / 2) * 8, w: 12, h: 8 },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: queries.map(({ expr, legend }, query) => ({
      refId: String.fromCharCode(65 + query),
      expr,
      legendFormat: legend,
      datasource,
    })),
  }));
  const variable = (name: string, label: string, query: string) => ({
    name,
    label,
    type: 'query',
    datasource,
    query: { query, refId: name },
    refresh: 2,
  });
  const dashboard = {
    uid: 'gateway-upstream-operator',
    title: 'Gateway upstream operator',
    tags: ['gateway-upstream-operator'],
    schemaVersion: 39,
    editable: true,
    time: { from: 'now-3h', to: 'now' },
    refresh: '30s',
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        variable('namespace', 'Namespace', 'label_values(gateway_upstream_operator_leader, namespace)'),
        variable('job', 'Job', 'label_values(gateway_upstream_operator_leader{namespace="$namespace"}, job)'),
      ],
    },
    panels,
  };
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}
