import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';
import { add, type Explained, NOTHING, type Results } from './results.ts';

/** The path to which this reporter writes `Results` as JSON. */
export const RESULTS_VARIABLE = 'TEST_RESULTS';

/** Counts the tests of a vitest run. An error outside a test, such as a file that cannot be loaded, counts as a failure. */
export default class ResultsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const path = process.env[RESULTS_VARIABLE];
    if (path === undefined) throw new Error(`${RESULTS_VARIABLE} is not set`);
    const results = modules.map(resultsOf).reduce(add, {
      ...NOTHING,
      failed: unhandledErrors.map((error) => ({
        name: 'an error outside tests',
        reason: firstLineOf(error),
      })),
    });
    writeFileSync(path, JSON.stringify(results));
  }
}

function resultsOf(module: TestModule): Results {
  const file = `${module.project.name}: ${module.relativeModuleId}`;
  const tests = [...module.children.allTests()];
  const inState = (state: string) => tests.filter((test) => test.result().state === state);
  const { collectDuration, setupDuration, duration } = module.diagnostic();
  const failed = inState('failed').map(
    (test): Explained => ({
      name: `${file} > ${test.fullName}`,
      reason: firstLineOf(test.result().errors?.[0]),
    }),
  );
  // A file that fails without a failed test could not be loaded, or one of its hooks failed.
  const unloadable = failed.length === 0 && !module.ok();
  const [error] = [module, ...module.children.allSuites()].flatMap((part) => part.errors());
  return {
    passed: inState('passed').length,
    failed: unloadable ? [{ name: file, reason: firstLineOf(error) }] : failed,
    durations: [{ name: file, ms: collectDuration + setupDuration + duration }],
    skipped: inState('skipped').map((test) => {
      const result = test.result();
      const reason = 'note' in result && result.note !== undefined ? result.note : 'no reason given';
      return { name: `${file} > ${test.fullName}`, reason };
    }),
  };
}

function firstLineOf(error: unknown): string {
  const message = error instanceof Object && 'message' in error ? String(error.message) : String(error);
  return message.split('\n', 1).join();
}
