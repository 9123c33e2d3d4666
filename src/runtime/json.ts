/**
 * Reads JSON of unknown shape. A value of another type reads as empty, unless the function's comment says that it throws.
 */

import { interned } from './interned.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value` if it is an object, otherwise an empty object. */
export function objectIn(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/** `value` if it is a string, otherwise `fallback`. */
export function textIn(value: unknown, fallback = ''): string {
  return typeof value === 'string' ? value : fallback;
}

/** The entries of `value` that are strings. */
export function textsIn(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(objectIn(value)).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
}

/**
 * `value`, or undefined if it is absent or null. Throws for another type, because the value is then unknown and not absent.
 */
export function optional(value: unknown, type: 'string'): string | undefined;
export function optional(value: unknown, type: 'number'): number | undefined;
export function optional(value: unknown, type: 'boolean'): boolean | undefined;
export function optional(value: unknown, type: 'string' | 'number' | 'boolean'): unknown {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== type) throw new Error(`expected a ${type}, found a ${typeof value}`);
  return value;
}

/** `value`, or an empty object if it is absent or null. Throws for another type. */
export function optionalObject(value: unknown): JsonObject {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw new Error('expected an object');
  return value;
}

/** The objects of a list. Empty if the list is absent or null. Throws for another type. */
export function optionalObjects(value: unknown): readonly JsonObject[] {
  return optionalList(value).map((entry) => {
    if (!isObject(entry)) throw new Error('expected an object');
    return entry;
  });
}

/** The strings of a list. Empty if the list is absent or null. Throws for another type. */
export function optionalTexts(value: unknown): readonly string[] {
  return optionalList(value).map((entry) => {
    if (typeof entry !== 'string') throw new Error('expected a string');
    return entry;
  });
}

function optionalList(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Error('expected a list');
  return value;
}

const NO_LABELS: Readonly<Record<string, string>> = {};

/** The labels of a Kubernetes object. Throws if they are not a map of strings. */
export function labelsIn(object: JsonObject): Readonly<Record<string, string>> {
  const { labels } = objectIn(object['metadata']);
  if (labels === undefined || labels === null) return NO_LABELS;
  return Object.fromEntries(
    Object.entries(optionalObject(labels)).map(([key, label]) => [key, optional(label, 'string') ?? '']),
  );
}

interface Identity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** The identity of a Kubernetes object. Undefined if name or uid is missing. */
export function identityIn(object: JsonObject): Identity | undefined {
  const metadata = objectIn(object['metadata']);
  const name = textIn(metadata['name']);
  const uid = textIn(metadata['uid']);
  const { namespace = '', resourceVersion = '' } = metadata;
  if (name === '' || uid === '' || typeof namespace !== 'string' || typeof resourceVersion !== 'string')
    return undefined;
  return { namespace: interned(namespace), name, uid, resourceVersion };
}
