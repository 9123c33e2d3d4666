/** Limit of the table. If it is exceeded, the texts are not shared by many objects, and the table is cleared. */
const MAX_TEXTS = 50_000;

const texts = new Map<string, string>();

/**
 * Returns one shared string for all equal texts. JSON.parse creates a new string for every condition message, node name and
 * namespace, and every map would have its own copy of an object's key. With 10,000 objects, these copies would take most of
 * the memory.
 */
export function interned<T extends string>(text: T): T {
  const known = texts.get(text);
  // The strings are equal, so `known` has the same type.
  if (known !== undefined) return known as T;
  if (texts.size >= MAX_TEXTS) texts.clear();
  texts.set(text, text);
  return text;
}
