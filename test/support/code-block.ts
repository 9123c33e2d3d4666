import { readFileSync } from 'node:fs';

/** The text of the first block of `language` in a page of `docs/`. */
export function codeBlock(page: string, language: string): string {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  const block = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(text)?.[1];
  if (block === undefined) throw new Error(`docs/${page} has no ${language}`);
  return block;
}

/** The text of the block of `language` in a page of `docs/` that contains `text`. */
export function codeBlockWith(page: string, language: string, text: string): string {
  const content = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  const blocks = [...content.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))];
  const [found, more] = blocks.map(([, block = '']) => block).filter((block) => block.includes(text));
  if (found === undefined || more !== undefined)
    throw new Error(`docs/${page} must have one ${language} block with: ${text}`);
  return found;
}
