import type { FieldChange } from '../../decide/diff.ts';
import { isObject } from '../../runtime/json.ts';

const HIDDEN = '(not shown)';
/** Names of fields that may contain credentials. Upstreams may contain fields that the operator did not write. */
const SECRET = /secret|passw|token|auth|credential|headers|_key$|^private/i;

/** `change` without the values of fields that may contain a secret, at any depth. */
export function withoutSecrets({ field, before, after }: FieldChange): FieldChange {
  return { field, before: hidden(field, before), after: hidden(field, after) };
}

function hidden(name: string, value: unknown): unknown {
  if (value === undefined) return undefined;
  if (SECRET.test(name)) return HIDDEN;
  if (Array.isArray(value)) return value.map((item) => hidden('', item));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, hidden(key, member)]));
}
