import { z } from 'zod';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { GROUP, VERSION } from '../../src/api/group.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import { configSchema } from '../../src/config/config.ts';

/** The parts of JSON Schema, and of its dialect in a CustomResourceDefinition, that the references use. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-validations'?: readonly { readonly message: string }[];
}

/** One field of a reference. The texts are Markdown that is not yet escaped for a table. */
export interface Field {
  /** For example `spec.backends[].weight`. */
  readonly path: string;
  readonly type: string;
  /** Empty if there is none. */
  readonly default: string;
  readonly description: string;
  readonly rules: readonly string[];
}

export interface Reference {
  readonly title: string;
  readonly description: string;
  readonly fields: readonly Field[];
}

/** Every field in `spec` and `status` of the custom resources. */
export function customResourceReferences(): readonly Reference[] {
  return builtInCatalog.customResources.map((resource) => {
    const definition = customResourceDefinition(resource) as unknown as {
      readonly spec: {
        readonly versions: readonly [{ readonly schema: { readonly openAPIV3Schema: Schema } }];
      };
    };
    const { properties = {} } = definition.spec.versions[0].schema.openAPIV3Schema;
    const fields = ['spec', 'status'].flatMap((part) => {
      const { default: _, ...schema } = properties[part] ?? {};
      return fieldsOf(schema, part);
    });
    return { title: resource.kind, description: resource.description, fields };
  });
}

/** Every key of the configuration file. */
export function configurationFields(): readonly Field[] {
  const schema = z.toJSONSchema(configSchema, { io: 'input' }) as Schema;
  const defaults = configSchema.parse({});
  return fieldsOf(schema, '').map((field) => ({
    ...field,
    default: field.type === 'object' ? '' : defaultText(valueAt(defaults, field.path), field.type),
    rules: field.type === DURATION ? [] : field.rules,
  }));
}

function valueAt(value: unknown, path: string): unknown {
  return path.split('.').reduce((at, key) => (at as Readonly<Record<string, unknown>>)[key], value);
}

/** Durations in the defaults are milliseconds, because the schema has parsed them. */
function defaultText(value: unknown, type: string): string {
  if (value === undefined) return '';
  return `\`${type === DURATION ? durationText(Number(value)) : literal(value)}\``;
}

/** `docs/reference.md`. */
export function apiReference(): string {
  const sections = customResourceReferences().map(
    ({ title, description, fields }) => `## ${title}\n\n${description}\n\n${table(fields)}`,
  );
  return `<!-- Generated from src/api by \`npm run generate\`. -->

# API reference

Look up a field of a custom resource in API group \`${GROUP}\`, version \`${VERSION}\`. The API server rejects an object that breaks one of
these rules, and names the rule. [Status](status.md) and [reasons](reasons.md) explain \`status.conditions\`. The cases in
[test/golden](../test/golden) show the gateway object for each field of a GatewayUpstream.

${sections.join('\n\n')}
`;
}

/** `docs/configuration.md`. */
export function configurationReference(): string {
  return `<!-- Generated from src/config/config.ts by \`npm run generate\`. -->

# Configuration

Set these keys in the YAML file that \`--config\` names, or under \`config\` in the chart's values. Every key is optional. If a key is unknown or
its value is invalid, the program prints the key on standard error and exits with code 2.

${table(configurationFields())}
`;
}

function fieldsOf(schema: Schema, path: string): readonly Field[] {
  const rules = (schema['x-kubernetes-validations'] ?? []).map(({ message }) => message);
  if (schema.properties === undefined) return [];
  const own = Object.entries(schema.properties).flatMap(([key, property]) => {
    const name = path === '' ? key : `${path}.${key}`;
    const required = schema.required?.includes(key) === true && property.default === undefined;
    return [field(property, name, required), ...below(property, name)];
  });
  // A rule about several fields belongs to their parent. The spec as a whole has no row, so it gets one here.
  return path.includes('.') || rules.length === 0
    ? own
    : [{ path, type: 'object', default: '', description: 'Rules about several fields.', rules }, ...own];
}

function below(schema: Schema, path: string): readonly Field[] {
  if (schema.items === undefined) return fieldsOf(schema, path);
  if (schema.items.properties !== undefined) return fieldsOf(schema.items, `${path}[]`);
  return [];
}

function field(schema: Schema, path: string, required: boolean): Field {
  return {
    path,
    type: typeOf(schema),
    default: schema.default === undefined ? '' : `\`${literal(schema.default)}\``,
    description: schema.description ?? '',
    rules: [...(required ? ['required'] : []), ...bounds(schema), ...validations(schema)],
  };
}

function literal(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}

const DURATION = 'duration';

function typeOf(schema: Schema): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'integer or string';
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' or ');
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}`;
  if (typeof schema.additionalProperties === 'object') return `map of ${typeOf(schema.additionalProperties)}`;
  if (isDuration(schema)) return DURATION;
  return schema.format === 'date-time' ? 'time' : (schema.type ?? '');
}

function isDuration(schema: Schema): boolean {
  const says = [schema.pattern ?? '', ...validations(schema)];
  return says.some(
    (text) => text.includes('(ms|s|m|h)') || text.includes('[mh])') || text.includes('(ms, s, m, h)'),
  );
}

function validations(schema: Schema): readonly string[] {
  const over = (schema['x-kubernetes-validations'] ?? []).map(({ message }) => message);
  return [
    ...over,
    ...(schema.items === undefined ? [] : [...bounds(schema.items), ...validations(schema.items)]),
  ];
}

function bounds(schema: Schema): readonly string[] {
  const between = (least: number | undefined, most: number | undefined, unit: string) => {
    // zod gives every integer these bounds.
    const from = least === undefined || least <= Number.MIN_SAFE_INTEGER ? undefined : least;
    const to = most === undefined || most >= Number.MAX_SAFE_INTEGER ? undefined : most;
    if (from === undefined) return to === undefined ? [] : [`at most ${to}${unit}`];
    return to === undefined ? [`at least ${from}${unit}`] : [`${from} to ${to}${unit}`];
  };
  return [
    ...between(schema.minimum, schema.maximum, ''),
    ...(schema.maxLength === undefined ? [] : between(schema.minLength, schema.maxLength, ' characters')),
    ...between(schema.minItems, schema.maxItems, ' entries'),
    ...between(undefined, schema.maxProperties, ' entries'),
  ];
}

function durationText(ms: number): string {
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function table(fields: readonly Field[]): string {
  const rows = fields.map(({ path, type, default: value, description, rules }) =>
    [`\`${path}\``, type, value, description, rules.join('; ')].map(cell).join(' | '),
  );
  return ['field | type | default | meaning | rules', '--- | --- | --- | --- | ---', ...rows]
    .map((row) => `| ${row} |`)
    .join('\n');
}

/** Outside code, Markdown reads `<name>` as HTML, `*` as emphasis and `$` as a formula. Everywhere, `|` ends a cell. */
function cell(markdown: string): string {
  return markdown
    .split('`')
    .map((part, index) => (index % 2 === 1 ? part : part.replaceAll('<', '&lt;').replaceAll(/[*$]/g, '\\$&')))
    .join('`')
    .replaceAll('|', '\\|');
}
