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
import { FAULTS } from './fault-table.ts';
import { goldenCases, goldenFiles } from './golden.ts';
import { metricsReference } from './metrics-reference.ts';
import { apiReference, configurationReference } from './references.ts';

const root = new URL('../../', import.meta.url);

/** Every generated file but the golden cases, by its path from the repository's root. */
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
  files.set('docs/faults.md', faultsReference());
  files.set('docs/reference.md', apiReference());
  files.set('docs/configuration.md', configurationReference());
  return files;
}

function reasonsReference(): string {
  const rows = Object.entries(REASONS).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`);
  return `<!-- Generated from src/api/reasons.ts by \`npm run generate\`. -->

# Reasons

The closed set of words that the operator uses as condition reason and as Event reason. What [each condition](status.md) is, and
which object has it, is on another page.

| reason | meaning, and what to do |
| --- | --- |
${rows.join('\n')}
`;
}

/** `docs/status.md` with its generated parts made anew; what is between them is written by hand. */
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
  };
  let text = readFileSync(new URL(path, root), 'utf8');
  for (const [name, content] of Object.entries(parts)) {
    const begin = `<!-- generated: ${name} -->\n`;
    const from = text.indexOf(begin);
    const to = text.indexOf('\n<!-- end -->', from);
    if (from < 0 || to < 0) throw new Error(`${path} has no place for ${name}`);
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
  return ['| condition | True means | otherwise |', '| --- | --- | --- |', ...rows].join('\n');
}

function reasonsCell(
  kind: keyof typeof CONDITIONS,
  type: string,
  { reasons, follows = [] }: ConditionFacts,
): string {
  if (type === 'Reconciling') return 'the reason of `Ready`';
  if (type === 'Stalled') {
    const stalling = reasonsOf(kind, type, 'True').filter((reason) => STALLED.has(reason));
    return `the reason of \`Ready\`, if it is one of ${words(stalling)}`;
  }
  const { False = [], Unknown = [] } = reasons;
  return [
    ...(follows.length === 0 ? [] : [`that of ${words(follows)}, the first that is not True`]),
    ...(False.length === 0 ? [] : [words(False)]),
    ...(Unknown.length === 0 ? [] : [`Unknown with ${words(Unknown)}`]),
  ].join('; ');
}

function words(list: readonly string[]): string {
  return list.map((word) => `\`${word}\``).join(', ');
}

function faultsReference(): string {
  const sections = FAULTS.map(({ symptom, on: [kind, name], condition, message, check }) => {
    const checked =
      check === undefined
        ? 'prints the same.'
        : `prints:\n\n> ${kind} ${name}${name.includes('/') ? ':' : ','} ${check}`;
    return `## ${symptom}

\`kubectl describe ${kind.toLowerCase()} ${name.split('/').at(-1)}\` shows \`${condition.type}=${condition.status}\` with reason [\`${condition.reason}\`](reasons.md):

> ${message}

\`gateway-upstream-operator check\` ${checked}
`;
  });
  return `<!-- Generated from test/support/fault-table.ts by \`npm run generate\`. -->

# Faults

What the program says of each fault. A test makes every one of them and compares. Where to begin is told in
[troubleshooting](troubleshooting.md).

${sections.join('\n')}`;
}

/** The paths whose committed content differs from what would be generated now. */
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
