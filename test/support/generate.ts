import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { CONDITIONS, type ConditionFacts, STALLED } from '../../src/api/conditions.ts';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { SET_PROBLEMS } from '../../src/api/gateway-upstream-set.ts';
import { EXCLUDED_REASONS, LAGGING_REASONS, WARNING_REASONS } from '../../src/api/gateway-upstream-status.ts';
import { GROUP } from '../../src/api/group.ts';
import { REASONS } from '../../src/api/reasons.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import { CHART, chartFiles } from './chart/chart-files.ts';
import { reasonsOf } from './condition-reasons.ts';
import { APPLY_ERRORS, FAULTS, type Fault } from './fault-table.ts';
import { goldenCases, goldenFiles } from './golden.ts';
import { metricsReference } from './metrics-reference.ts';
import { apiReference, configurationReference } from './references.ts';

const root = new URL('../../', import.meta.url);

/** Every generated file except the golden cases, by its path from the repository's root. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const resource of builtInCatalog.customResources) {
    const definition = `# Generated from src/api by \`npm run generate\`.\n${stringify(customResourceDefinition(resource), { lineWidth: 0, aliasDuplicateObjects: false })}`;
    for (const folder of ['crds', `${CHART}/crds`]) {
      files.set(`${folder}/${GROUP}_${resource.plural}.yaml`, definition);
    }
  }
  for (const [path, content] of chartFiles()) files.set(path, content);
  files.set('docs/reasons.md', reasonsReference());
  files.set('docs/status.md', statusReference());
  files.set('docs/metrics.md', metricsReference());
  files.set('docs/error-reference.md', errorReference());
  files.set('docs/reference.md', apiReference());
  files.set('docs/configuration.md', configurationReference());
  return files;
}

function reasonsReference(): string {
  const rows = Object.entries(REASONS).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`);
  return `<!-- Generated from src/api/reasons.ts by \`npm run generate\`. -->

# Reasons

Look up the reason of a condition or Event, and see what to do about it. [Status](status.md) explains the conditions, and the
[error reference](error-reference.md) shows the messages.

| reason | meaning and remedy |
| --- | --- |
${rows.join('\n')}
`;
}

/** `docs/status.md` with new content in its generated parts. The rest is written by hand. */
function statusReference(): string {
  const path = 'docs/status.md';
  const parts = {
    'GatewayUpstream conditions': conditionsTable('GatewayUpstream'),
    'excluded reasons': reasonsTable(EXCLUDED_REASONS),
    'warning reasons': reasonsTable(WARNING_REASONS),
    'lagging reasons': reasonsTable(LAGGING_REASONS),
    'GatewayConnection conditions': conditionsTable('GatewayConnection'),
    'GatewayUpstreamSet conditions': conditionsTable('GatewayUpstreamSet'),
    'problems of a set': reasonsTable(SET_PROBLEMS),
    'ServiceRegistry conditions': conditionsTable('ServiceRegistry'),
  };
  let text = readFileSync(new URL(path, root), 'utf8');
  for (const [name, content] of Object.entries(parts)) {
    const begin = `<!-- generated: ${name} -->\n`;
    const from = text.indexOf(begin);
    const to = text.indexOf('\n<!-- end -->', from);
    if (from < 0 || to < 0) throw new Error(`${path} has no generated part "${name}"`);
    text = `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`;
  }
  return text;
}

function reasonsTable(reasons: Readonly<Record<string, string>>): string {
  const rows = Object.entries(reasons).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`);
  return ['| reason | meaning |', '| --- | --- |', ...rows].join('\n');
}

function conditionsTable(kind: keyof typeof CONDITIONS): string {
  const conditions: Readonly<Record<string, ConditionFacts>> = CONDITIONS[kind];
  const rows = Object.entries(conditions).map(
    ([type, facts]) => `| \`${type}\` | ${facts.meaning} | ${reasonsCell(kind, type, facts)} |`,
  );
  return ['| condition | meaning of True | reasons otherwise |', '| --- | --- | --- |', ...rows].join('\n');
}

function reasonsCell(
  kind: keyof typeof CONDITIONS,
  type: string,
  { reasons, follows = [] }: ConditionFacts,
): string {
  if (type === 'Reconciling') return 'same reason as `Ready`';
  if (type === 'Stalled') {
    const stalling = reasonsOf(kind, type, 'True').filter((reason) => STALLED.has(reason));
    return `same reason as \`Ready\`: ${words(stalling)}`;
  }
  const { False = [], Unknown = [] } = reasons;
  return [
    ...(follows.length === 0 ? [] : [`reason of the first of ${words(follows)} that is not True`]),
    ...(False.length === 0 ? [] : [words(False)]),
    ...(Unknown.length === 0 ? [] : [`Unknown with ${words(Unknown)}`]),
  ].join('; ');
}

function words(list: readonly string[]): string {
  return list.map((word) => `\`${word}\``).join(', ');
}

/** `docs/error-reference.md`. */
function errorReference(): string {
  const of = (kind: string) =>
    FAULTS.filter(({ on }) => on[0] === kind)
      .map(errorSection)
      .join('\n');
  const reasons = [...new Set(FAULTS.map(({ condition }) => condition.reason))].sort();
  const rows = reasons.map((reason) => {
    const links = FAULTS.filter(({ condition }) => condition.reason === reason).map(
      ({ symptom }) => `[${symptom}](#${anchorOf(symptom)})`,
    );
    return `| \`${reason}\` | ${links.join('<br>')} |`;
  });
  const rejected = APPLY_ERRORS.map(
    ({ symptom, message }) => `### ${symptom}\n\n\`kubectl apply\` fails with:\n\n> ${escaped(message)}\n`,
  );
  return `<!-- Generated from test/support/fault-table.ts by \`npm run generate\`. -->

# Error reference

Find an error by its reason or by the text of its message, and see what to do about it. For each entry, a test causes the error on a real
API server and compares what the condition and \`gateway-upstream-operator check\` say with this page
(\`test/integration/faults.test.ts\`). If you have a symptom but no message, start with [troubleshooting](troubleshooting.md).

The address \`http://gateway:9180\` stands for the Admin API of your gateway, and \`registry:8500\` for a server of your registry. The meaning of each reason is in [reasons](reasons.md).

| reason | errors |
| --- | --- |
${rows.join('\n')}

## GatewayConnection errors

${of('GatewayConnection')}
## GatewayUpstream errors

${of('GatewayUpstream')}
## ServiceRegistry errors

${of('ServiceRegistry')}
## Errors from kubectl apply

The API server rejects these objects, so no object is created or changed.

${rejected.join('\n')}`;
}

function errorSection({ symptom, on: [kind, name], condition, message, check, note }: Fault): string {
  const separator = name.includes('/') ? ':' : ',';
  const checked =
    check === undefined
      ? 'prints the same message.'
      : `prints:\n\n> ${escaped(`${kind} ${name}${separator} ${check}`)}`;
  const explained = note === undefined ? '' : `${note}\n\n`;
  return `### ${symptom}

${explained}\`kubectl describe ${kind.toLowerCase()} ${name.split('/').at(-1)}\` shows \`${condition.type}=${condition.status}\` with reason [\`${condition.reason}\`](reasons.md):

> ${escaped(message)}

\`gateway-upstream-operator check\` ${checked}
`;
}

/** Outside of code, Markdown reads `<name>` as an HTML element. */
function escaped(text: string): string {
  return text.replaceAll('<', '&lt;');
}

/** The anchor that GitHub gives a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

/** The paths of committed files that differ from what the sources generate now. */
export async function staleFiles(): Promise<readonly string[]> {
  const stale: string[] = [];
  for (const [path, content] of generatedFiles()) {
    const committed = await readFile(new URL(path, root), 'utf8').catch(() => '');
    if (committed !== content) stale.push(path);
  }
  return stale;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const golden = (await Promise.all(goldenCases().map(goldenFiles))).flat();
  for (const [path, content] of [...generatedFiles(), ...golden]) {
    const file = new URL(path, root);
    await mkdir(new URL('.', file), { recursive: true });
    await writeFile(file, content);
    process.stdout.write(`wrote ${path}\n`);
  }
}
