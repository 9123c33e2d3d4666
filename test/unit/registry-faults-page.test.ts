import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

const suite = read('test/integration/registry-faults.ts');
/** The last cell of each row of the page's tables. */
const cells = [...read('docs/registry-faults.md').matchAll(/^\|.*\| (`.*`) \|$/gm)].map(
  ([, cell = '']) => cell,
);
const named = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, title = '']) => title));

/** The titles in the suite. A fault of the proxy follows `the registry `. */
const titles = [
  ...[...suite.matchAll(/\bit\(\s*'([^']+)'/g)].map(([, title = '']) => title),
  ...[...suite.matchAll(/^ {2}\['([^']+)', \//gm)].map(([, fault]) => `the registry ${fault}`),
];

describe('the page about registry failures', () => {
  it('lists exactly the tests of the suite', () => {
    expect(named.toSorted()).toEqual(titles.toSorted());
  });
});
