import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { goldenCases, goldenFiles } from '../support/golden.ts';

const committed = (path: string) =>
  readFile(new URL(`../../${path}`, import.meta.url), 'utf8').catch(() => '');

describe('golden cases', () => {
  it.each(goldenCases())('%s', async (name) => {
    for (const [path, content] of await goldenFiles(name)) {
      expect(content, `${path}: run \`npm run generate\` and look at what it changes`).toBe(
        await committed(path),
      );
    }
  });

  it.each(goldenCases())('%s says what it shows', async (name) => {
    expect(await committed(`test/golden/${name}/input.yaml`)).toMatch(/^# \S.*[.]\n/);
  });
});
