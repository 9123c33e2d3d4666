import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

function filesUnder(folder: string): readonly string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

/** The path at the start of each numbered step in CONTRIBUTING.md. */
function stepsOf(heading: string): readonly string[] {
  const section = read('CONTRIBUTING.md').split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, path = '']) => path);
}

const IMPORT = /from '([^']+)'/g;

/** The files outside `folder` that import from it. */
function importersOf(folder: string, candidates: readonly string[]): readonly string[] {
  return candidates.filter(
    (file) =>
      !file.startsWith(folder) &&
      [...read(file).matchAll(IMPORT)].some(([, target = '']) => join(file, '..', target).startsWith(folder)),
  );
}

describe('"Add a gateway" in CONTRIBUTING.md', () => {
  const steps = stepsOf('Add a gateway');

  it('lists the files that the toy gateway touches: its folder, one line in a list, and its test', () => {
    const proof = ['test/integration/toys.test.ts'];
    const importers = importersOf('test/toys/toy-gateway/', [...filesUnder('src'), ...filesUnder('test')]);
    const touched = ['test/toys/toy-gateway/', ...importers.filter((file) => !proof.includes(file))];
    const asToys = steps.map((step) =>
      step
        .replace('src/gateways/<name>/', 'test/toys/toy-gateway/')
        .replace('src/gateways/index.ts', 'test/toys/catalog.ts')
        .replace('<name>', 'toy-gateway'),
    );
    expect(touched.toSorted()).toEqual(asToys.toSorted());
    const lines = read('test/toys/catalog.ts').split('\n');
    // Its import, and its line in the list.
    expect(lines.filter((line) => line.includes('toyGateway'))).toHaveLength(2);
  });

  it('lists every file in src that imports the APISIX vendor', () => {
    const importers = importersOf('src/gateways/apisix/', filesUnder('src'));
    expect(['src/gateways/<name>/', ...importers]).toEqual(steps.filter((step) => step.startsWith('src/')));
  });
});
