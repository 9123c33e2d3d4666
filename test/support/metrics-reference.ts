import { METRICS } from '../../src/api/metrics.ts';
import { alerts } from './chart/alerts.ts';

/** `docs/metrics.md`. */
export function metricsReference(): string {
  const metrics = Object.values(METRICS).map(
    ({ name, type, labels, help }) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`,
  );
  const sections = alerts().map(
    ({ alert, labels, annotations: { summary, description, runbook }, ...rule }) => `### ${alert}

${labels.severity}, after ${rule.for}: ${prose(summary)}.

${prose(description)} See [${runbook.replace('docs/', '')}](${runbook.replace('docs/', '')}).
`,
  );
  return `<!-- Generated from src/api/metrics.ts and the chart's monitoring/alerts.yaml by \`npm run generate\`. -->

# Metrics and alerts

Look up a metric or an alert. [Monitoring](monitoring.md) explains how to collect and use them.

## Metrics

Labels contain names of connections, and no other object names. A \`reason\` is one of the [reasons](reasons.md). The operator also exposes the
default metrics of the process (\`process_*\`, \`nodejs_*\`).

| metric | type | labels | meaning |
| --- | --- | --- | --- |
${metrics.join('\n')}

Histograms have buckets from 1 ms to 60 s.

## Alerts

${sections.join('\n')}`;
}

/** `{{ $labels.connection }}` is a template of Prometheus. */
function prose(template: string): string {
  return template.replaceAll(/\{\{ \$(?:labels\.)?(\w+) \}\}/g, '`<$1>`');
}
