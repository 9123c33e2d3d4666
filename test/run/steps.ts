/** One step of a run: a command that passes or fails as a whole, or projects of vitest.config.ts, whose tests are counted. */
export type Step =
  | { readonly kind: 'command'; readonly command: readonly [string, ...string[]] }
  | {
      readonly kind: 'suites';
      readonly projects: readonly [string, ...string[]];
      /** A command that prepares something and runs vitest, whose command line is added to it. */
      readonly launcher?: readonly [string, ...string[]];
    };

const command = (...words: [string, ...string[]]): Step => ({ kind: 'command', command: words });
const suites = (...projects: [string, ...string[]]): Step => ({ kind: 'suites', projects });
/** On a real cluster of one node. */
const E2E_CORE: Step = {
  kind: 'suites',
  projects: ['e2e'],
  launcher: ['node', 'test/e2e/launch.ts'],
};
/** A cluster of its own, because each project has its own process. */
const E2E_LONG: Step = {
  kind: 'suites',
  projects: ['e2e-long'],
  launcher: ['node', 'test/e2e/launch.ts', '--all'],
};

const BUILD = command('rolldown', '-c', 'rolldown.config.ts');

/**
 * The steps of each npm script. CI runs `npm test` and `npm run test:all`. They share no step, and together they contain
 * every test file. `npm run soak` repeats the random parts for hours and adds the full benchmark.
 */
export const RUNS: Readonly<Record<string, readonly Step[]>> = {
  test: [
    command('biome', 'ci', '.'),
    command('tsc', '--noEmit'),
    command('knip'),
    command('markdownlint-cli2'),
    command('cspell', 'lint', '--no-progress', '--no-summary'),
    suites('unit', 'contract', 'integration-core'),
  ],
  'test:all': [
    command('node', 'test/support/licenses.ts'),
    BUILD,
    command('node', 'bench/main.ts', '--short'),
    suites('fuzz', 'integration'),
    command('node', 'chaos/main.ts', '--seed', '1', '--steps', '200'),
    command('node', 'demo/demo.ts'),
    command('node', 'demo/demo.ts', '--registries'),
    E2E_CORE,
  ],
  e2e: [E2E_CORE],
  'e2e --all': [E2E_CORE, E2E_LONG],
  soak: [
    BUILD,
    suites('fuzz', 'integration-long'),
    command('node', 'chaos/main.ts', '--seeds', '1-30', '--steps', '400'),
    command('node', 'chaos/main.ts', '--churn', '--minutes', '60', '--rate', '20'),
    command('node', 'bench/main.ts'),
    command('node', 'bench/main.ts', '--registries'),
    E2E_LONG,
  ],
};
