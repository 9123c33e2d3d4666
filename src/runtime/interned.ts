/** What is kept of texts that many objects have in common; more of them than this are not in common. */
const MAX_TEXTS = 50_000;

const texts = new Map<string, string>();

/**
 * `text`, as the same string as any equal text before: JSON.parse makes a new one of every condition's message, name of a
 * node and namespace, and every place that keeps something by an object's key would keep a key of its own. Without it that
 * is most of what ten thousand objects take.
 */
export function interned<T extends string>(text: T): T {
  const known = texts.get(text);
  // Equal to it, and so of its type.
  if (known !== undefined) return known as T;
  if (texts.size >= MAX_TEXTS) texts.clear();
  texts.set(text, text);
  return text;
}
