/** What free-form JSON may have at most. */
export interface JsonBounds {
  /** Lists and objects within one another; the value itself is the first level. */
  readonly levels: number;
  /** Lists, objects and everything in them. */
  readonly values: number;
  /** Characters as JSON. */
  readonly length: number;
}

/**
 * Which of `bounds` `value` exceeds; undefined: none. It stops at the first that does, so that it takes the same time for a
 * value of any size, and it does not recurse, which is what deep values break.
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
      // Before any of the members is looked at.
      if (values > bounds.values) return 'values';
      // A lower bound of the JSON: most of what is too long is found before it is written out.
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
