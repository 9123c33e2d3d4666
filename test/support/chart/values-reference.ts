import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface DocumentedValue {
  /** As in `--set`: `image.tag`. */
  readonly key: string;
  /** The default as JSON. */
  readonly defaultJson: string;
  /** The comment above it. */
  readonly meaning: string;
}

interface Line {
  readonly path: readonly string[];
  readonly comment: string;
}

/** One row per value of `values.yaml`: every scalar and list, and a mapping whose own keys have no comments. */
export function documentedValues(source: string): readonly DocumentedValue[] {
  const values: unknown = parse(source);
  const lines = keyLines(source);
  const isAbove = (path: readonly string[], other: readonly string[]) =>
    path.length < other.length && path.every((key, index) => key === other[index]);
  const isWhole = (line: Line) =>
    line.comment !== '' && !lines.some((other) => isAbove(line.path, other.path) && other.comment !== '');
  const rows: DocumentedValue[] = [];
  for (const line of lines) {
    if (lines.some((other) => isAbove(other.path, line.path) && isWhole(other))) continue;
    const hasChildren = lines.some((other) => isAbove(line.path, other.path));
    if (hasChildren && !isWhole(line)) continue;
    const value = line.path.reduce((at, key) => (at as Readonly<Record<string, unknown>>)[key], values);
    rows.push({ key: line.path.join('.'), defaultJson: JSON.stringify(value), meaning: line.comment });
  }
  return rows;
}

/** The keys of `values.yaml` in order, each with the comment right above it. */
function keyLines(source: string): readonly Line[] {
  const lines: Line[] = [];
  let path: readonly string[] = [];
  let comment: string[] = [];
  for (const line of source.split('\n')) {
    const text = /^\s*# ?(.*)$/.exec(line)?.[1];
    const [, indent, key] = /^( *)([A-Za-z]\w*):/.exec(line) ?? [];
    if (text !== undefined) {
      comment.push(text);
    } else if (indent !== undefined && key !== undefined) {
      path = [...path.slice(0, indent.length / 2), key];
      lines.push({ path, comment: comment.join(' ') });
      comment = [];
    } else {
      comment = [];
    }
  }
  return lines;
}

/** The comment of each key of `values.yaml`, by its path as in `--set`. */
export function valuesComments(): ReadonlyMap<string, string> {
  return new Map(
    keyLines(valuesYaml()).flatMap(({ path, comment }) =>
      comment === '' ? [] : [[path.join('.'), comment] as const],
    ),
  );
}

function valuesYaml(): string {
  return readFileSync(
    new URL('../../../charts/gateway-upstream-operator/values.yaml', import.meta.url),
    'utf8',
  );
}

/** README.md of the chart. */
export function chartReadme(): string {
  const rows = documentedValues(valuesYaml()).map(
    ({ key, defaultJson, meaning }) =>
      `| \`${key}\` | \`${defaultJson.replaceAll('|', '\\|')}\` | ${meaning.replaceAll('|', '\\|')} |`,
  );
  return `<!-- Generated from values.yaml by \`npm run generate\`. -->

# gateway-upstream-operator

Installs the operator that keeps the upstreams of an API gateway in sync with the Services in a Kubernetes cluster. See
[Install](../../docs/install.md) for all steps, and [Upgrade and uninstall](../../docs/upgrade.md).

<!-- Not run by a test: test/e2e/core.test.ts runs the command of docs/install.md, which has the values. -->

\`\`\`sh
helm install gateway-upstream-operator charts/gateway-upstream-operator \\
  --namespace gateway-upstream-system --create-namespace
\`\`\`

## Values

Helm rejects unknown keys and wrong types, and lists the keys and types that it expects.

| Key | Default | Description |
| --- | --- | --- |
${rows.join('\n')}
`;
}
