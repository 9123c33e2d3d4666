import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

interface Import {
  readonly file: string;
  /** A path from `src`, or the name of a package. */
  readonly target: string;
  readonly typeOnly: boolean;
}

/** What a place may import: expressions over `target`, and over targets of which it may have types only. */
interface Rule {
  readonly from: RegExp;
  readonly may: readonly RegExp[];
  readonly mayHaveTypesOf?: readonly RegExp[];
}

const node = /^node:/;

/** The first rule whose `from` fits counts. */
const RULES: readonly Rule[] = [
  // Everything but what is beside `src`: tests, demo and benchmark know the program, and it does not know them.
  { from: /^(main|program|operator)\.ts$/, may: [/^(?!\.\.\/)/] },
  // An older Node.js evaluates it, to say that it is too old.
  { from: /^node-version\.ts$/, may: [] },
  { from: /^cli\.ts$/, may: [/^api\//, /^config\.ts$/, node], mayHaveTypesOf: [/^install\//, /^plan\//] },
  { from: /^config\.ts$/, may: [/^api\//, /^zod$/, /^yaml$/, node] },
  { from: /^api\//, may: [/^api\//, /^zod$/] },
  { from: /^core\//, may: [/^core\//, /^api\//, /^re2js$/, /^node:crypto$/] },
  { from: /^runtime\//, may: [/^runtime\//, /^p-queue$/, /^pino$/, /^prom-client$/, node] },
  { from: /^discovery\//, may: [/^discovery\//, /^core\//], mayHaveTypesOf: [/^kube\/store\.ts$/] },
  { from: /^gateways\/index\.ts$/, may: [/^gateways\//, /^core\//, /^zod$/] },
  { from: /^gateways\/[^/]+\.ts$/, may: [/^gateways\/[^/]+\.ts$/, /^core\//, /^runtime\//] },
  {
    from: /^gateways\/[^/]+\/([a-z]+-)?client\.ts$/,
    may: [/^gateways\/driver\.ts$/, /^core\//, /^runtime\//, /^got$/, /^zod$/, node],
  },
  { from: /^gateways\/[^/]+\//, may: [/^gateways\/driver\.ts$/, /^core\//, /^runtime\//, node] },
  {
    from: /^kube\//,
    may: [/^kube\//, /^api\//, /^core\//, /^runtime\//, /^@kubernetes\/client-node$/, node],
    mayHaveTypesOf: [/^zod$/],
  },
  {
    from: /^controller\//,
    may: [
      /^controller\//,
      /^api\//,
      /^core\//,
      /^runtime\//,
      /^gateways\/(driver|index)\.ts$/,
      /^kube\/kube-error\.ts$/,
      node,
    ],
    mayHaveTypesOf: [/^kube\//, /^discovery\/source\.ts$/],
  },
  {
    // What a plan says is pure: files, clusters and gateways are read by the others.
    from: /^plan\/(make-plan|mirror-endpoints|node-reasons|render|take-over|without-secrets)\.ts$/,
    may: [
      /^plan\/(kinds|make-plan|node-reasons|take-over|without-secrets)\.ts$/,
      /^api\//,
      /^core\//,
      /^controller\/(claims|evaluate)\.ts$/,
      /^discovery\/kubernetes\.ts$/,
      /^yaml$/,
      /^node:(net|util)$/,
    ],
    mayHaveTypesOf: [/^gateways\/driver\.ts$/, /^kube\/objects\.ts$/],
  },
  {
    from: /^plan\//,
    may: [
      /^plan\//,
      /^api\//,
      /^core\//,
      /^kube\//,
      /^controller\/(claims|connections|controller|evaluate|references|set-members)\.ts$/,
      /^discovery\/kubernetes\.ts$/,
      /^gateways\/(driver|index)\.ts$/,
      /^yaml$/,
      /^zod$/,
      node,
    ],
  },
  {
    // It asks what the controller would ask, with the same options.
    from: /^install\/check\.ts$/,
    may: [
      /^install\//,
      /^api\//,
      /^core\//,
      /^kube\//,
      /^controller\/connections\.ts$/,
      /^discovery\/kubernetes\.ts$/,
      /^gateways\/(driver|index)\.ts$/,
      node,
    ],
  },
  {
    // It writes conditions, as the controller does.
    from: /^install\/mark-uninstalled\.ts$/,
    may: [/^api\//, /^core\//, /^kube\//],
    mayHaveTypesOf: [/^runtime\//],
  },
  {
    from: /^install\//,
    may: [/^install\//, /^api\//, /^kube\//, /^yaml$/, node],
    mayHaveTypesOf: [/^runtime\//, /^@kubernetes\/client-node$/],
  },
];

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
  // A driver's folder is its own, and nobody else's.
  const own = /^gateways\/[^/]+\//.exec(file)?.[0];
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
  it('are seen, in every folder', () => {
    expect(sources.size).toBeGreaterThanOrEqual(50);
    expect(imports.length).toBeGreaterThanOrEqual(200);
    for (const folder of [
      'api',
      'core',
      'runtime',
      'discovery',
      'gateways',
      'kube',
      'controller',
      'install',
      'plan',
    ]) {
      expect(
        imports.some(({ file }) => file.startsWith(`${folder}/`)),
        folder,
      ).toBe(true);
    }
  });

  it('follow the matrix', () => {
    expect(imports.filter(forbidden)).toEqual([]);
  });

  it.each<[string, string, boolean]>([
    ['core/x.ts', `import { readFileSync } from 'node:fs';`, true],
    ['core/x.ts', `import type { Store } from '../kube/store.ts';`, true],
    ['core/x.ts', `export * from '../gateways/driver.ts';`, true],
    ['core/x.ts', `const { got } = await import('got');`, true],
    ['core/x.ts', `import {\n  a,\n  b,\n} from '../runtime/clock.ts';`, true],
    ['core/x.ts', `import '../main.ts';`, true],
    ['core/x.ts', `import { createHash } from 'node:crypto';`, false],
    ['api/x.ts', `import { objectKey } from '../core/model.ts';`, true],
    ['gateways/apisix/driver.ts', `import got from 'got';`, true],
    ['gateways/apisix/client.ts', `import got from 'got';`, false],
    ['gateways/kong/client.ts', `import { x } from '../apisix/translate.ts';`, true],
    ['gateways/kong/driver.ts', `import { x } from './translate.ts';`, false],
    ['discovery/x.ts', `import { createStore } from '../kube/store.ts';`, true],
    ['discovery/x.ts', `import type { Store } from '../kube/store.ts';`, false],
    ['controller/x.ts', `import { createReflector } from '../kube/reflector.ts';`, true],
    ['controller/x.ts', `import type { Reflector } from '../kube/reflector.ts';`, false],
    ['controller/x.ts', `import { createApisixDriver } from '../gateways/apisix/driver.ts';`, true],
    ['operator.ts', `import { createStore } from './kube/store.ts';`, false],
    ['operator.ts', `import { Ledger } from '../bench/ledger.ts';`, true],
    ['plan/make-plan.ts', `import { readCluster } from './read-cluster.ts';`, true],
    ['plan/render.ts', `import { readFile } from 'node:fs/promises';`, true],
    ['plan/plan.ts', `import { GatewaySession } from '../controller/session.ts';`, true],
    ['plan/plan.ts', `import { readCluster } from './read-cluster.ts';`, false],
    ['new-folder/x.ts', `import { z } from 'zod';`, true],
  ])('of %s: %s', (file, text, expected) => {
    const [found, ...others] = importsOf(file, text);
    expect(others).toEqual([]);
    expect(found && forbidden(found)).toBe(expected);
  });
});

describe('src/core is pure', () => {
  const IMPURE =
    /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bprocess\.|\bconsole\.|\bfetch\(|\bperformance\.|\brandomUUID\b|\brandomBytes\b/;

  it.each([...sources].filter(([file]) => file.startsWith('core/')))('%s', (_, text) => {
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

  it('but may format a time that it is given', () => {
    expect('new Date(ms)').not.toMatch(IMPURE);
  });
});

describe('chaos', () => {
  const CHAOS = fileURLToPath(new URL('../chaos', import.meta.url));
  const found = readdirSync(CHAOS).flatMap((file) =>
    importsOf(`chaos/${file}`, readFileSync(join(CHAOS, file), 'utf8')),
  );

  it('judges the operator without a line of it', () => {
    expect(found.length).toBeGreaterThan(20);
    expect(found.filter(({ target }) => !/^(chaos\/|test\/support\/|node:)/.test(target))).toEqual([]);
  });
});
