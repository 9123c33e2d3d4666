import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const words = readFileSync(`${ROOT}cspell-words.txt`, 'utf8').trimEnd().split('\n');

describe('cspell-words.txt', () => {
  it('is in lower case, sorted, and without duplicates, so that changes merge', () => {
    const sorted = [...new Set(words.map((word) => word.toLowerCase()))].sort();
    expect(words).toEqual(sorted);
  });

  it('contains only words that some file uses', () => {
    const paths = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' }).trimEnd().split('\n');
    const text = paths
      .filter((path) => path !== 'cspell-words.txt' && path !== 'package-lock.json')
      .map((path) => readFileSync(`${ROOT}${path}`, 'utf8').toLowerCase())
      .join('\n');
    const unused = words.filter((word) => !text.includes(word));
    expect(unused, 'remove these words from cspell-words.txt').toEqual([]);
  });
});
