import { readFileSync } from 'node:fs';

/** The text of the first block of `language` in a page of `docs/`. */
export function codeBlock(page: string, language: string): string {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  const block = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(text)?.[1];
  if (block === undefined) throw new Error(`docs/${page} has no ${language}`);
  return block;
}
