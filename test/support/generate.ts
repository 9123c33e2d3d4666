import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { CUSTOM_RESOURCES, customResourceDefinition } from '../../src/api/crd.ts';
import { GROUP } from '../../src/api/group.ts';
import { REASONS } from '../../src/api/reasons.ts';
import { CHART, chartFiles } from './chart/chart-files.ts';
import { FAULTS } from './fault-table.ts';
import { apiReference, configurationReference } from './references.ts';

const root = new URL('../../', import.meta.url);

/** Every generated file by its path from the repository's root. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const resource of CUSTOM_RESOURCES) {
    const definition = `# Generated from src/api by \`npm run generate\`.\n${stringify(customResourceDefinition(resource), { lineWidth: 0, aliasDuplicateObjects: false })}`;
    for (const folder of ['crds', `${CHART}/crds`]) {
      files.set(`${folder}/${GROUP}_${resource.plural}.yaml`, definition);
    }
  }
  for (const [path, content] of chartFiles()) files.set(path, content);
  files.set('docs/reasons.md', reasonsReference());
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

function faultsReference(): string {
  const sections = FAULTS.map(
    ({ symptom, on: [kind, name], condition, message, check }) => `## ${symptom}

\`kubectl describe ${kind.toLowerCase()} ${name.split('/').at(-1)}\` shows \`${condition.type}=${condition.status}\` with reason [\`${condition.reason}\`](reasons.md):

> ${message}

\`gateway-upstream-operator check\`:

> ${kind} ${name}${name.includes('/') ? ':' : ','} ${check}
`,
  );
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
  for (const [path, content] of generatedFiles()) {
    const file = new URL(path, root);
    await mkdir(new URL('.', file), { recursive: true });
    await writeFile(file, content);
    process.stdout.write(`wrote ${path}\n`);
  }
}
