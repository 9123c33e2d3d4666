import type { FieldChange } from '../../decide/diff.ts';
import { isObject } from '../../runtime/json.ts';

const HIDDEN = '(not shown)';
/** Private keys, and headers of health checks, which may carry credentials: a gateway's object can hold what we never wrote. */
const SECRET = /secret|passw|token|auth|credential|headers|_key$|^private/i;

/** `change` without the values of whatever may be a secret, at any depth. */
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
