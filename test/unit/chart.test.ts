import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configSchema } from '../../src/config/config.ts';
import { alerts } from '../support/chart/alerts.ts';
import { CHART } from '../support/chart/chart-files.ts';
import { documentedValues } from '../support/chart/values-reference.ts';
import { generatedFiles } from '../support/generate.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFile(new URL(path, root), 'utf8');
const valuesYaml = await read(`${CHART}/values.yaml`);

describe('the chart', () => {
  it.each([...generatedFiles().keys()].filter((path) => path.startsWith(CHART)))(
    '%s matches the output of `npm run generate`',
    async (path) => {
      expect(await read(path)).toBe(generatedFiles().get(path));
    },
  );

  it.each(alerts())('$alert links to an existing section of the documentation', async ({ annotations }) => {
    const [path = '', anchor] = annotations.runbook.split('#');
    const headings = [...(await read(path)).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
    expect(headings.length).toBeGreaterThan(0);
    if (anchor !== undefined) expect(headings).toContain(anchor);
  });

  it('has a comment for every value', () => {
    const values = documentedValues(valuesYaml);
    expect(values.length).toBeGreaterThan(50);
    expect(values.filter(({ meaning }) => meaning === '')).toEqual([]);
    expect(values.map(({ key }) => key)).toEqual(
      expect.arrayContaining(['replicas', 'image.digest', 'config.leaderElection.leaseName', 'resources']),
    );
  });

  it('has the version of the program', async () => {
    const { version } = JSON.parse(await read('package.json')) as { readonly version: string };
    expect(parse(await read(`${CHART}/Chart.yaml`))).toMatchObject({ version, appVersion: version });
  });

  it('has every key of the configuration with its default', () => {
    const { config } = parse(valuesYaml) as { readonly config: Readonly<Record<string, unknown>> };
    expect(keysOf(config)).toEqual(keysOf(configSchema.def.shape));
    const given = Object.fromEntries(Object.entries(config).filter(([, value]) => value !== ''));
    const { ops, ...defaults } = configSchema.parse({});
    // The only default that depends on the environment.
    expect(configSchema.parse(given)).toEqual({ ...defaults, ops: { ...ops, host: '0.0.0.0' } });
  });

  it('has a schema with the same values as values.yaml', async () => {
    const schema = JSON.parse(await read(`${CHART}/values.schema.json`)) as Schema;
    const values: unknown = parse(valuesYaml);
    // Helm adds `global`.
    const { global: _, ...properties } = schema.properties ?? {};
    expect(unknownKeys({ ...schema, properties }, values)).toEqual([]);
    expect(Object.keys(properties).sort()).toEqual(Object.keys(values as object).sort());
  });
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

/** Paths in the values that a schema with listed keys does not contain. */
function unknownKeys(schema: Schema | undefined, values: unknown, path = ''): readonly string[] {
  if (schema?.properties === undefined || typeof values !== 'object' || values === null) return [];
  const { properties } = schema;
  return Object.entries(values).flatMap(([key, value]) =>
    key in properties ? unknownKeys(properties[key], value, `${path}.${key}`) : [`${path}.${key}`],
  );
}

function keysOf(shape: object): readonly string[] {
  return Object.keys(shape).sort();
}
