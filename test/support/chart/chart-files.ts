import { dashboardJson } from './dashboard.ts';
import { rulesTemplate } from './rules-template.ts';
import { chartReadme } from './values-reference.ts';
import { valuesSchema } from './values-schema.ts';

export const CHART = 'charts/gateway-upstream-operator';

/** The chart's generated files besides its CRDs, by their path from the repository's root. */
export function chartFiles(): ReadonlyMap<string, string> {
  return new Map([
    [`${CHART}/README.md`, chartReadme()],
    [`${CHART}/values.schema.json`, `${JSON.stringify(valuesSchema(), undefined, 2)}\n`],
    [`${CHART}/templates/_rules.tpl`, rulesTemplate()],
    [`${CHART}/monitoring/dashboard.json`, dashboardJson()],
  ]);
}
