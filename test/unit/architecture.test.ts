import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { cyclesIn, longFunctions } from '../support/code-structure.ts';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

interface Import {
  readonly file: string;
  /** A path from `src`, or the name of a package. */
  readonly target: string;
  readonly typeOnly: boolean;
}

/** The imports that a file may have: patterns for targets, and for targets of which it may import only types. */
interface Rule {
  readonly from: RegExp;
  readonly may: readonly RegExp[];
  readonly mayHaveTypesOf?: readonly RegExp[];
}

const node = /^node:/;

/** The first rule whose `from` matches applies. Packages that are not listed must not be imported. */
const RULES: readonly Rule[] = [
  // Older versions of Node.js must be able to run these files, to report that they are too old.
  { from: /^main\.ts$/, may: [/^(catalog|node-version)\.ts$/, /^cli\/program\.ts$/, /^node:v8$/] },
  { from: /^node-version\.ts$/, may: [] },
  // The list of built-in types.
  { from: /^catalog\.ts$/, may: [/^(api|gateways|kube|model|sources)\//] },
  // The composition root of `run`.
  {
    from: /^operator\.ts$/,
    mayHaveTypesOf: [/^catalog\.ts$/],
    may: [/^(api|config|decide|engine|gateways|kube|model|runtime|sources)\//, node],
  },
  // Any gateway and any registry may use it.
  { from: /^runtime\/http\//, may: [/^runtime\/http\//, /^got$/, node] },
  { from: /^runtime\//, may: [/^runtime\//, /^p-queue$/, /^pino$/, /^prom-client$/, node] },
  { from: /^api\//, may: [/^api\//, /^zod$/] },
  { from: /^model\//, may: [/^model\//, /^api\//, /^runtime\/interned\.ts$/] },
  { from: /^config\//, may: [/^config\//, /^api\//, /^zod$/, /^yaml$/, node] },
  {
    from: /^decide\//,
    may: [
      /^decide\//,
      /^model\//,
      /^api\//,
      /^runtime\/(interned|json|multi-map)\.ts$/,
      /^re2js$/,
      /^node:(crypto|util)$/,
    ],
  },
  // The list of built-in registry types.
  {
    from: /^sources\/index\.ts$/,
    may: [/^sources\/[^/]+\/registry-type\.ts$/],
    mayHaveTypesOf: [/^sources\/registry\.ts$/],
  },
  {
    from: /^sources\/[^/]+\.ts$/,
    may: [/^sources\/[^/]+\.ts$/, /^decide\//, /^model\//, /^api\//, /^runtime\//, /^node:util$/],
    mayHaveTypesOf: [/^zod$/],
  },
  {
    from: /^sources\/[^/]+\//,
    // The generic source is for every registry.
    may: [
      /^sources\/[^/]+\.ts$/,
      /^sources\/registry-source\//,
      /^decide\//,
      /^model\//,
      /^api\//,
      /^runtime\//,
      /^zod$/,
      node,
    ],
  },
  {
    from: /^gateways\/[^/]+\.ts$/,
    may: [/^gateways\//, /^decide\//, /^model\//, /^api\//, /^runtime\//, /^zod$/],
  },
  {
    from: /^gateways\/[^/]+\//,
    may: [/^gateways\/[^/]+\.ts$/, /^decide\//, /^model\//, /^api\//, /^runtime\//, /^zod$/, node],
  },
  {
    from: /^kube\//,
    may: [/^kube\//, /^decide\//, /^model\//, /^api\//, /^runtime\//, /^@kubernetes\/client-node$/, node],
    mayHaveTypesOf: [/^zod$/],
  },
  {
    from: /^engine\//,
    may: [
      /^engine\//,
      /^gateways\/[^/]+\.ts$/,
      /^kube\//,
      /^decide\//,
      /^model\//,
      /^api\//,
      /^runtime\//,
      node,
    ],
    mayHaveTypesOf: [/^sources\/source\.ts$/],
  },
  // The only command that runs the engine.
  {
    from: /^cli\/run\.ts$/,
    mayHaveTypesOf: [/^catalog\.ts$/],
    may: [/^operator\.ts$/, /^(config|runtime)\//, node],
  },
  { from: /^cli\/version\.ts$/, may: [/^\.\.\/package\.json$/] },
  {
    from: /^cli\//,
    may: [
      /^cli\//,
      /^(api|config|decide|kube|model|runtime|sources)\//,
      /^gateways\/[^/]+\.ts$/,
      /^yaml$/,
      /^zod$/,
      node,
    ],
    mayHaveTypesOf: [/^@kubernetes\/client-node$/, /^catalog\.ts$/],
  },
];

const MAX_FILE_LINES = 400;
const MAX_FUNCTION_LINES = 60;

/** `import ... from`, `export ... from`, `import '...'` and `import('...')`, over several lines. */
const IMPORT = /\b(?:(import|export)\s+(type\s+)?[^'";=()]*?\bfrom\s*|import\s*\(?\s*)'([^']+)'/g;

function importsOf(file: string, text: string): readonly Import[] {
  return [...text.matchAll(IMPORT)].map(([, , type, specifier = '']) => ({
    file,
    target: specifier.startsWith('.') ? join(dirname(file), specifier) : specifier,
    typeOnly: type !== undefined,
  }));
}

function forbidden({ file, target, typeOnly }: Import): boolean {
  const rule = RULES.find(({ from }) => from.test(file));
  if (rule === undefined) return true;
  // A vendor or source may import from its own folder, but not from the folder of another one.
  const own = /^(gateways|sources)\/[^/]+\//.exec(file)?.[0];
  if (own !== undefined && target.startsWith(own)) return false;
  const allowed = typeOnly ? [...rule.may, ...(rule.mayHaveTypesOf ?? [])] : rule.may;
  return !allowed.some((expression) => expression.test(target));
}

const sources = new Map(
  readdirSync(SRC, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [relative(SRC, path), readFileSync(path, 'utf8')]),
);
const imports = [...sources].flatMap(([file, text]) => importsOf(file, text));

describe('imports', () => {
  it('are found in every folder', () => {
    expect(sources.size).toBeGreaterThanOrEqual(50);
    expect(imports.length).toBeGreaterThanOrEqual(200);
    for (const folder of [
      'api',
      'cli',
      'config',
      'decide',
      'engine',
      'gateways',
      'kube',
      'model',
      'runtime',
      'sources',
    ]) {
      expect(
        imports.some(({ file }) => file.startsWith(`${folder}/`)),
        folder,
      ).toBe(true);
    }
  });

  it('follow the rules', () => {
    expect(
      imports
        .filter(forbidden)
        .map(({ file, target }) => `${file}: ${target}`)
        .sort(),
    ).toEqual([]);
  });

  it.each<[string, string, boolean]>([
    ['decide/x.ts', `import { readFileSync } from 'node:fs';`, true],
    ['decide/x.ts', `import type { Store } from '../../kube/store.ts';`, true],
    ['decide/x.ts', `export * from '../../gateways/driver.ts';`, true],
    ['decide/x.ts', `const { got } = await import('got');`, true],
    ['decide/x.ts', `import {\n  a,\n  b,\n} from '../../runtime/clock.ts';`, true],
    ['decide/x.ts', `import '../../main.ts';`, true],
    ['decide/x.ts', `import { createHash } from 'node:crypto';`, false],
    ['api/x.ts', `import { objectKey } from '../../model/model.ts';`, true],
    ['runtime/http/x.ts', `import got from 'got';`, false],
    ['runtime/http/x.ts', `import { OPERATOR } from '../../api/group.ts';`, true],
    ['runtime/x.ts', `import got from 'got';`, true],
    ['gateways/apisix/client.ts', `import got from 'got';`, true],
    ['sources/x/source.ts', `import got from 'got';`, true],
    ['gateways/kong/client.ts', `import { x } from '../../apisix/translate.ts';`, true],
    ['gateways/kong/driver.ts', `import { x } from '../translate.ts';`, false],
    ['sources/x/source.ts', `import { createStore } from '../../../kube/store.ts';`, true],
    ['sources/x/source.ts', `import { x } from '../../decide/nodes.ts';`, false],
    ['sources/x/source.ts', `import { x } from '../y/client.ts';`, true],
    ['sources/x/source.ts', `import { x } from './client.ts';`, false],
    ['engine/x.ts', `import { readFiles } from '../cli/plan/read-files.ts';`, true],
    ['engine/x.ts', `import { createApisixDriver } from '../gateways/apisix/driver.ts';`, true],
    ['operator.ts', `import { createStore } from './kube/store.ts';`, false],
    ['operator.ts', `import { Ledger } from '../../bench/ledger.ts';`, true],
    ['cli/plan/plan.ts', `import { GatewaySession } from '../../engine/session/session.ts';`, true],
    ['cli/run.ts', `import { runOperator } from '../operator.ts';`, false],
    ['cli/check/check.ts', `import { runOperator } from '../../operator.ts';`, true],
    ['new-folder/x.ts', `import { z } from 'zod';`, true],
  ])('of %s: %s', (file, text, expected) => {
    const [found, ...others] = importsOf(file, text);
    expect(others).toEqual([]);
    expect(found && forbidden(found)).toBe(expected);
  });
});

describe('imports, types included,', () => {
  it('form no cycles', () => {
    const graph = new Map([...sources.keys()].map((file) => [file, [] as string[]]));
    for (const { file, target } of imports) graph.get(file)?.push(target);
    expect(cyclesIn(graph).map((cycle) => cycle.join(' -> '))).toEqual([]);
  });
});

describe('size', () => {
  it(`has no file of more than ${MAX_FILE_LINES} lines`, () => {
    const long = [...sources].filter(([, text]) => text.split('\n').length - 1 > MAX_FILE_LINES);
    expect(long.map(([file]) => file)).toEqual([]);
  });

  it(`has no function of more than ${MAX_FUNCTION_LINES} lines`, () => {
    const long = [...sources].flatMap(([file, text]) =>
      longFunctions(text, MAX_FUNCTION_LINES).map(({ name }) => `${file}: ${name}`),
    );
    expect(long).toEqual([]);
  });
});

describe('src/decide is pure', () => {
  const IMPURE =
    /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bprocess\.|\bconsole\.|\bfetch\(|\bperformance\.|\brandomUUID\b|\brandomBytes\b/;

  it.each([...sources].filter(([file]) => file.startsWith('decide/')))('%s', (_, text) => {
    const code = text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, '');
    expect(IMPURE.exec(code)).toBeNull();
  });

  it.each([
    'Date.now()',
    'new Date()',
    'Math.random()',
    'setTimeout(f)',
    'process.env',
    'console.log()',
    'fetch(x)',
  ])('without %s', (code) => {
    expect(code).toMatch(IMPURE);
  });

  it('may format a given time', () => {
    expect('new Date(ms)').not.toMatch(IMPURE);
  });
});

describe('chaos', () => {
  const CHAOS = fileURLToPath(new URL('../../chaos', import.meta.url));
  const found = readdirSync(CHAOS).flatMap((file) =>
    importsOf(`chaos/${file}`, readFileSync(join(CHAOS, file), 'utf8')),
  );

  it('does not import code of the operator', () => {
    expect(found.length).toBeGreaterThan(20);
    expect(found.filter(({ target }) => !/^(chaos\/|test\/support\/|node:)/.test(target))).toEqual([]);
  });
});
