/** Maximum sizes of free-form JSON. */
export interface JsonBounds {
  /** Nesting of lists and objects. The value itself is the first level. */
  readonly levels: number;
  /** Number of members of all lists and objects together. */
  readonly values: number;
  /** Characters of the JSON text. */
  readonly length: number;
}

/**
 * The first of `bounds` that `value` exceeds; undefined if there is none. It stops there, so its time is bounded for a value
 * of any size. It does not recurse, because a deep value would overflow the stack.
 */
export function jsonExcess(value: unknown, bounds: JsonBounds): keyof JsonBounds | undefined {
  let values = 0;
  let length = 0;
  let level = isContainer(value) ? [value] : [];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > bounds.levels) return 'levels';
    const next: object[] = [];
    for (const container of level) {
      const names = Array.isArray(container) ? undefined : Object.keys(container);
      values += names?.length ?? (container as readonly unknown[]).length;
      // Checked before the members are read.
      if (values > bounds.values) return 'values';
      // A lower bound of the JSON length, which detects most long values before they are serialized.
      for (const name of names ?? []) length += name.length;
      for (const member of Object.values(container) as readonly unknown[]) {
        if (typeof member === 'string') length += member.length;
        else if (isContainer(member)) next.push(member);
      }
      if (length > bounds.length) return 'length';
    }
    level = next;
  }
  return JSON.stringify(value).length > bounds.length ? 'length' : undefined;
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
