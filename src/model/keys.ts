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

/** What `objectKey` was made from. */
export function splitKey(key: ObjectKey): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}

/** The order of texts by code units, the same whatever the locale. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
