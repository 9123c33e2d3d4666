/** The result of one scrape of `/metrics`. */
export interface Scrape {
  /** The types by metric name. */
  readonly types: ReadonlyMap<string, string>;
  /** The values by series, such as `name{label="value"}`, with the labels that Prometheus adds. */
  readonly series: ReadonlyMap<string, number>;
}

const OWN = 'gateway_upstream_operator_';

/** Parses the text format like a Prometheus that discovers the operator in namespace `gw`. */
export function readScrape(text: string): Scrape {
  const types = new Map<string, string>();
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, metric, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (metric !== undefined && type !== undefined) types.set(metric, type);
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name?.startsWith(OWN) !== true || value === undefined) continue;
    // Labels of the target take precedence, and labels of the metric with the same name are renamed.
    const own = labels.replace(/(^|,)namespace="/, '$1exported_namespace="');
    const all = ['namespace="gw"', 'job="operator"', 'pod="operator-0"', ...(own === '' ? [] : [own])];
    series.set(`${name}{${all.join(',')}}`, Number(value));
  }
  return { types, series };
}

/** The metrics in a PromQL expression. */
export function metricsIn(expression: string): readonly string[] {
  const bare = expression
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replaceAll(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, ' ');
  const words = bare.match(/[a-zA-Z_:][\w:]*\b(?!\s*\()/g) ?? [];
  return words.filter((word) => !['and', 'or', 'unless'].includes(word));
}

const HEALTHY_MINUTES = 15;
const FAULTY_MINUTES = 45;

/**
 * A test for `promtool test rules`: 15 minutes as in `before`, then as in `after` for longer than any alert waits. Gauges are
 * constant, counters repeat their increase once a minute, and ages grow with time if `agesGrow`. Exactly the given alerts
 * must fire at the end, and no alert before.
 */
export function rulesTest(
  rulesFile: string,
  { before, after, agesGrow = false }: { before: Scrape; after: Scrape; agesGrow?: boolean },
  firing: readonly string[],
): object {
  /** The increase per minute in the state of `after`. */
  const step = (series: string): number => {
    const name = series.slice(0, series.indexOf('{'));
    // A lower counter belongs to a new process, so its increase is unknown.
    if (after.types.get(name) !== 'gauge')
      return Math.max(0, (after.series.get(series) ?? 0) - (before.series.get(series) ?? 0));
    return agesGrow && name.endsWith('_age_seconds') ? 60 : 0;
  };
  const all = new Set([...before.series.keys(), ...after.series.keys()]);
  const input = [...all].map((series) => {
    const was = before.series.get(series);
    const is = after.series.get(series);
    const healthy = was === undefined ? `_x${HEALTHY_MINUTES}` : `${was}x${HEALTHY_MINUTES - 1}`;
    const faulty = is === undefined ? 'stale' : `${is}+${step(series)}x${FAULTY_MINUTES}`;
    return { series, values: `${healthy} ${faulty}` };
  });
  const alertsAt = (minute: number, names: readonly string[]) => ({
    expr: 'group by (alertname) (ALERTS{alertstate="firing"})',
    eval_time: `${minute}m`,
    exp_samples: names.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 })),
  });
  return {
    rule_files: [rulesFile],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: input,
        promql_expr_test: [
          alertsAt(HEALTHY_MINUTES - 1, []),
          alertsAt(HEALTHY_MINUTES + FAULTY_MINUTES - 1, firing),
        ],
      },
    ],
  };
}
