import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, matchesGlob } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import config from '../../vitest.config.ts';
import { RESULTS_VARIABLE } from '../run/reporter.ts';
import { add, NOTHING, type Results, summary } from '../run/results.ts';
import { runSteps } from '../run/run-steps.ts';
import { RUNS, type Step } from '../run/steps.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Project {
  readonly name: string;
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
}

const projects = (config.test?.projects ?? []).map((project) => (project as { readonly test: Project }).test);
const projectsOf = (script: string): readonly string[] =>
  (RUNS[script] ?? []).flatMap((step) => (step.kind === 'suites' ? step.projects : []));

let scratch: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'test-run-'));
});
afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

describe('npm test and npm run test:all', () => {
  it('run every test file once, and the fuzz suites again with all cases', () => {
    const files = globSync('test/**/*.test.ts', { cwd: ROOT });
    expect(files.length).toBeGreaterThan(100);
    const projectsWith = (file: string) =>
      projects
        .filter(({ include, exclude = [] }) => {
          const matches = (pattern: string) => matchesGlob(file, pattern);
          return include.some(matches) && !exclude.some(matches);
        })
        .map(({ name }) => name);
    for (const file of files) {
      expect(
        projectsWith(file).filter((name) => name !== 'fuzz'),
        file,
      ).toHaveLength(1);
    }
    for (const pattern of projects.flatMap(({ include, exclude = [] }) => [...include, ...exclude])) {
      expect(
        files.some((file) => matchesGlob(file, pattern)),
        pattern,
      ).toBe(true);
    }
  });

  it('have no common step and together run every project except the long ones, which are part of the soak', () => {
    const both = [...projectsOf('test'), ...projectsOf('test:all')];
    const long = ['e2e-long', 'integration-long'];
    expect([...both, ...long].sort()).toEqual(projects.map(({ name }) => name).sort());
    expect(projectsOf('soak')).toEqual(expect.arrayContaining(long));
    expect(projectsOf('e2e --all')).toContain('e2e-long');
    const commands = ['test', 'test:all'].flatMap((script) =>
      (RUNS[script] ?? []).flatMap((step) => (step.kind === 'command' ? [step.command.join(' ')] : [])),
    );
    expect(new Set(commands).size).toBe(commands.length);
    expect(commands).toEqual(
      expect.arrayContaining([
        'biome ci .',
        'tsc --noEmit',
        'knip',
        'markdownlint-cli2',
        'cspell lint --no-progress --no-summary',
        'node bench/main.ts --short',
        'node chaos/main.ts --seed 1 --steps 200',
        'node test/support/licenses.ts',
      ]),
    );
  });

  it('are the scripts of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    for (const run of Object.keys(RUNS)) {
      // Options follow the name of the script: `npm run e2e -- --all`.
      const [script = ''] = run.split(' ');
      expect(scripts[script]).toBe(`node test/run/main.ts ${script}`);
    }
  });
});

describe('runSteps', () => {
  const command = (...words: [string, ...string[]]): Step => ({ kind: 'command', command: words });
  const node = (script: string) => command(process.execPath, '-e', script);

  it('continues after a failed step and after a missing command', async () => {
    const file = join(scratch, 'ran');
    const results = await runSteps([
      node('process.exit(3)'),
      command('no-such-command-anywhere'),
      node(`require('node:fs').writeFileSync(${JSON.stringify(file)}, 'yes')`),
    ]);
    expect(results).toMatchObject({
      passed: 1,
      failed: [{ name: expect.stringMatching(/process.exit\(3\)$/) }, { name: 'no-such-command-anywhere' }],
      skipped: [],
    });
    expect(results.durations).toHaveLength(3);
    expect(await readFile(file, 'utf8')).toBe('yes');
  });

  it('gives the command line of vitest to the launcher of suites', async () => {
    const file = join(scratch, 'launched');
    const script = `require('node:fs').writeFileSync(${JSON.stringify(file)}, process.argv.slice(1).join(' '))`;
    const launcher = [process.execPath, '-e', script] as const;
    expect(await runSteps([{ kind: 'suites', projects: ['e2e'], launcher }])).toMatchObject({
      failed: [{ name: 'e2e' }],
    });
    expect(await readFile(file, 'utf8')).toMatch(/^vitest run --project e2e /);
  });

  it('counts suites that cannot run as failures', async () => {
    const results = await runSteps([{ kind: 'suites', projects: ['no-such-project'] }]);
    expect(results).toMatchObject({ passed: 0, failed: [{ name: 'no-such-project' }] });
  });
});

describe('the summary', () => {
  it('lists times, slowest first, then skipped and failed tests with reasons, and counts everything in the last line', () => {
    const one: Results = { passed: 2, failed: [], durations: [{ name: 'quick', ms: 40 }], skipped: [] };
    const other: Results = {
      passed: 1,
      failed: [{ name: 'slow > keeps the last nodes', reason: 'expected 2 to be 3' }],
      durations: [{ name: 'slow', ms: 61_000 }],
      skipped: [{ name: 'rules', reason: 'promtool needs Go' }],
    };
    expect(summary(add(add(NOTHING, one), other))).toBe(
      '    61.0 s  slow\n     0.0 s  quick\nskipped  rules: promtool needs Go\n' +
        'failed   slow > keeps the last nodes: expected 2 to be 3\n3 passed, 1 failed, 1 skipped\n',
    );
  });
});

describe('the reporter', () => {
  it('names failed tests, files that cannot be loaded and errors outside tests, and the reason for each skip', async () => {
    await writeFile(
      join(scratch, 'tests.test.js'),
      `it('passes', () => {});
       it('fails', () => { throw new Error('on purpose'); });
       it('is skipped', ({ skip }) => skip('there is no gateway'));
       it('rejects behind its back', () => { Promise.reject(new Error('on purpose')); });`,
    );
    await writeFile(join(scratch, 'unloadable.test.js'), `throw new Error('on purpose');`);
    const path = join(scratch, 'results.json');
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
    const reporter = join(ROOT, 'test/run/reporter.ts');
    const args = ['run', '--root', scratch, '--globals', `--reporter=${reporter}`];
    const code = await exitCodeOf(process.execPath, [vitest, ...args], { [RESULTS_VARIABLE]: path });
    expect(code).toBe(1);
    const results = JSON.parse(await readFile(path, 'utf8')) as Results;
    expect(results).toMatchObject({
      passed: 2,
      failed: expect.arrayContaining([
        { name: 'an error outside tests', reason: 'on purpose' },
        { name: ': tests.test.js > fails', reason: 'on purpose' },
        { name: ': unloadable.test.js', reason: 'on purpose' },
      ]),
      skipped: [{ name: ': tests.test.js > is skipped', reason: 'there is no gateway' }],
    });
    expect(results.failed).toHaveLength(3);
    expect(results.durations).toHaveLength(2);
  });
});

describe('.ci/run', () => {
  it.each([
    ['nothing', '', ['ci', 'test', 'run test:all'], 0],
    ['npm test', 'test', ['ci', 'test', 'run test:all'], 1],
    ['npm run test:all', 'run test:all', ['ci', 'test', 'run test:all'], 1],
    ['npm ci', 'ci', ['ci'], 1],
  ])('runs every step and returns the right exit code if %s fails', async (_, failing, steps, code) => {
    const log = join(scratch, 'log');
    const npm = `#!/bin/sh\necho "$*" >> "$NPM_LOG"\n[ "$CI" = true ] && [ "$*" != "$NPM_FAILS" ]\n`;
    await writeFile(join(scratch, 'npm'), npm, { mode: 0o755 });
    const env = {
      PATH: [scratch, dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter),
      NPM_LOG: log,
      NPM_FAILS: failing,
    };
    expect(await exitCodeOf(join(ROOT, '.ci/run'), [], env)).toBe(code);
    expect((await readFile(log, 'utf8')).trimEnd().split('\n')).toEqual(steps);
  });
});

function exitCodeOf(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  return new Promise((resolve) => {
    execFile(command, [...args], { env: { ...process.env, ...env } }, (error) => {
      resolve(error === null ? 0 : Number(error.code ?? 1));
    });
  });
}
