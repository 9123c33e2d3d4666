import { isDeepStrictEqual } from 'node:util';

/** How the schema that the API server serves differs from the one of this program. */
export type SchemaAge =
  | { readonly kind: 'same' }
  /** It lacks `fields` and has no unknown ones. */
  | { readonly kind: 'older'; readonly fields: readonly string[] }
  | { readonly kind: 'newer'; readonly fields: readonly string[] }
  /** It lacks some fields and has unknown ones, or only rules, bounds or defaults differ, which do not show the order. */
  | { readonly kind: 'different'; readonly fields: readonly string[] };

type Json = Readonly<Record<string, unknown>>;

interface Differences {
  readonly lacks: string[];
  readonly adds: string[];
  readonly changes: string[];
}

/** Keywords that do not affect validation. */
const PROSE = new Set(['description', 'title']);

/** Compares two OpenAPI schemas of the field `path`. Pure. */
export function schemaAge(path: string, served: unknown, own: unknown): SchemaAge {
  const found: Differences = { lacks: [], adds: [], changes: [] };
  compare(path, object(served), object(own), found);
  const { lacks, adds, changes } = found;
  if (lacks.length > 0 && adds.length === 0) return { kind: 'older', fields: lacks };
  if (adds.length > 0 && lacks.length === 0) return { kind: 'newer', fields: adds };
  const fields = [...lacks, ...adds, ...changes];
  return fields.length === 0 ? { kind: 'same' } : { kind: 'different', fields };
}

function compare(path: string, served: Json, own: Json, found: Differences): void {
  for (const keyword of new Set([...Object.keys(served), ...Object.keys(own)])) {
    const [theirs, ours] = [served[keyword], own[keyword]];
    if (PROSE.has(keyword)) continue;
    // API server 1.37 (measured) adds this to every published int-or-string field.
    if (keyword === 'anyOf' && own['x-kubernetes-int-or-string'] === true) continue;
    if (keyword === 'properties') compareFields(path, object(theirs), object(ours), found);
    else if (keyword === 'items') compare(`${path}[]`, object(theirs), object(ours), found);
    else if (keyword === 'additionalProperties') compare(`${path}.*`, object(theirs), object(ours), found);
    else if (keyword === 'enum') compareValues(path, list(theirs), list(ours), found);
    else if (!isDeepStrictEqual(theirs, ours)) found.changes.push(path);
  }
}

function compareFields(path: string, served: Json, own: Json, found: Differences): void {
  for (const name of new Set([...Object.keys(served), ...Object.keys(own)])) {
    const field = `${path}.${name}`;
    if (served[name] === undefined) found.lacks.push(field);
    else if (own[name] === undefined) found.adds.push(field);
    else compare(field, object(served[name]), object(own[name]), found);
  }
}

function compareValues(
  path: string,
  served: readonly unknown[],
  own: readonly unknown[],
  found: Differences,
): void {
  for (const value of own) if (!served.includes(value)) found.lacks.push(`${path}=${String(value)}`);
  for (const value of served) if (!own.includes(value)) found.adds.push(`${path}=${String(value)}`);
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
