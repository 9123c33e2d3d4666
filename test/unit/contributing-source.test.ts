import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Maps files of the toy source to the paths in the list of CONTRIBUTING.md. */
const PLACES: Readonly<Record<string, string>> = {
  'test/toys/toy-source/': 'src/sources/<name>/',
  'test/toys/catalog.ts': 'src/sources/index.ts',
  'test/contract/toy-source.test.ts': 'test/contract/<name>-source.test.ts',
};

function filesUnder(folder: string): readonly string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

it('CONTRIBUTING.md lists exactly the files that a new discovery source touches', () => {
  const text = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const section = /## Add a discovery source\n([\s\S]*?)\n## /.exec(text)?.[1] ?? '';
  const listed = [...section.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, path]) => path);
  expect(listed).toEqual(Object.values(PLACES));

  // Integration tests use the source but are not part of it.
  const touched = ['src', 'test/contract', 'test/support', 'test/toys', 'test/unit']
    .flatMap(filesUnder)
    .filter(
      (file) => !file.startsWith('test/toys/toy-source/') && !file.endsWith('contributing-source.test.ts'),
    )
    .filter((file) => /from '[^']*toy-source\//.test(readFileSync(join(ROOT, file), 'utf8')));
  expect(touched).toContain('test/contract/toy-source.test.ts');
  expect(touched.filter((file) => PLACES[file] === undefined)).toEqual([]);
});
