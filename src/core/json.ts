/** Reads JSON that nobody has checked: what is of another shape reads as nothing, and nothing throws. */

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value`, or an empty object. */
export function objectIn(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/** One object for each entry of `value`. */
export function objectsIn(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.map(objectIn) : [];
}

/** `value` if it is a string. */
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

interface Identity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** Who a Kubernetes object is; undefined for one without name or uid. */
export function identityIn(object: JsonObject): Identity | undefined {
  const metadata = objectIn(object['metadata']);
  const name = textIn(metadata['name']);
  const uid = textIn(metadata['uid']);
  if (name === '' || uid === '') return undefined;
  return {
    namespace: textIn(metadata['namespace']),
    name,
    uid,
    resourceVersion: textIn(metadata['resourceVersion']),
  };
}
