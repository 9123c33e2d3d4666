/** What is kept of texts that many objects have in common; more of them than this are not in common. */
const MAX_TEXTS = 10_000;

const texts = new Map<string, string>();

/**
 * `text`, as the same string as any equal text before: JSON.parse makes a new one of every condition's message, name of a
 * node and namespace, which is most of what ten thousand objects take.
 */
export function interned(text: string): string {
  const known = texts.get(text);
  if (known !== undefined) return known;
  if (texts.size >= MAX_TEXTS) texts.clear();
  texts.set(text, text);
  return text;
}
