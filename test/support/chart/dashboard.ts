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

/** In rows of two, in the order in which somebody who was woken up would look. */
const PANELS: readonly Panel[] = [
  {
    title: 'Upstreams by readiness',
    description: 'What Ready says of the GatewayUpstreams, by reason.',
    unit: 'short',
    queries: [
      {
        expr: `max by (connection, status, reason) (${on('objects', ',kind="GatewayUpstream",type="Ready"')})`,
        legend: '{{connection}} {{status}} {{reason}}',
      },
    ],
  },
  {
    title: 'Gateways that do not answer or refuse',
    description: 'Conditions of GatewayConnections that do not hold.',
    unit: 'short',
    queries: [
      {
        expr: `max by (connection, type, reason) (${on('objects', ',kind="GatewayConnection",status!="True"')})`,
        legend: '{{connection}} {{type}} {{reason}}',
      },
    ],
  },
  {
    title: 'Propagation',
    description: "From the arrival of a change of endpoints to the gateway's accepted answer.",
    unit: 's',
    queries: quantiles('propagation_seconds', 'connection'),
  },
  {
    title: 'Wait in queues',
    description: 'If this is most of the propagation, the limits of the GatewayConnection are.',
    unit: 's',
    queries: quantiles('queue_wait_seconds', 'queue, connection'),
  },
  {
    title: 'Writes',
    description: 'To gateways, by outcome.',
    unit: 'ops',
    queries: [
      {
        expr: `sum by (connection, operation, outcome) (rate(${on('writes_total')}[$__rate_interval]))`,
        legend: '{{connection}} {{operation}} {{outcome}}',
      },
    ],
  },
  {
    title: 'Looks with nothing to write',
    description: 'Reconciles that cost the gateway nothing.',
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
    description: 'By reason, reads included.',
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
    description: 'Keys that wait or run.',
    unit: 'short',
    queries: [
      {
        expr: `sum by (queue, connection) (${on('queue_depth')})`,
        legend: '{{queue}} {{connection}}',
      },
    ],
  },
  {
    title: 'Age of watches',
    description: 'Since the API server last sent anything; a bookmark comes about once a minute.',
    unit: 's',
    queries: [{ expr: `max by (watch) (${on('watch_age_seconds')})`, legend: '{{watch}}' }],
  },
  {
    title: 'Lists and watches begun',
    description: 'Many lists are a burden for the API server, and a sign that watches do not live.',
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
    title: 'Data planes that lag',
    description: 'They serve something else than what was written, or cannot be asked. Needs controlApi.',
    unit: 'short',
    queries: [
      {
        expr: `max by (connection) (${on('data_planes_lagging')})`,
        legend: '{{connection}}',
      },
    ],
  },
  {
    title: 'Leader and checks',
    description: '1 for the replica that writes; 1 for each check of /readyz that holds.',
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
    description: 'By outcome. A changed count alone is written every 10 s at most.',
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
    description: 'Of the process.',
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
    description: 'What a scrape had to wait for.',
    unit: 's',
    queries: [
      { expr: 'nodejs_eventloop_lag_p99_seconds{namespace="$namespace",job="$job"}', legend: '{{pod}}' },
    ],
  },
];

/** `monitoring/dashboard.json` of the chart, as Grafana imports it. */
export function dashboardJson(): string {
  // Grafana's own way to name a variable.
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
