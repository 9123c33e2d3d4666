import { interned } from '../runtime/interned.ts';

/** `namespace/name` of a namespaced object. */
export type ObjectKey = `${string}/${string}`;

export function objectKey(namespace: string, name: string): ObjectKey {
  return interned<ObjectKey>(`${namespace}/${name}`);
}

/** The key of an object. */
export function keyOf(object: { readonly namespace: string; readonly name: string }): ObjectKey {
  return objectKey(object.namespace, object.name);
}

/** The inverse of `objectKey`. */
export function splitKey(key: ObjectKey): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}

/** Compares strings by UTF-16 code units, independent of the locale. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
