import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseDocuments } from '../../src/cli/plan/read-files.ts';
import { admit } from '../support/catalog.ts';

const ROOT = new URL('../../', import.meta.url);
const CHART = 'charts/gateway-upstream-operator';
const PAGES = [
  'README.md',
  ...readdirSync(new URL('docs/', ROOT))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  `${CHART}/README.md`,
  `${CHART}/templates/NOTES.txt`,
];

/** The text from the first `apiVersion` of an example to the end of its block. */
const EXAMPLE =
  /^( *)apiVersion: (?:gatewayupstream[.]dev|gateway[.]networking)[^\n]*\n.*?(?=^ *(?:EOF|```)$)/gms;

const examples = PAGES.flatMap((page) =>
  [...readFileSync(new URL(page, ROOT), 'utf8').matchAll(EXAMPLE)].map(([text, indent = ''], index) => ({
    name: `${page}, example ${index + 1}`,
    text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  })),
);

describe('examples in the documentation and the chart', () => {
  it('are found', () => {
    expect(examples.length).toBeGreaterThanOrEqual(8);
  });

  it.each(examples)('$name is accepted', ({ name, text }) => {
    const { objects } = admit(parseDocuments(text, name), 0);
    const { upstreams, connections, sets = [], grants = [], registries = [] } = objects;
    const all = [upstreams, connections, sets, grants, registries].flat();
    expect(all.length).toBeGreaterThan(0);
  });
});
