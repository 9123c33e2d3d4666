import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';
import { add, NOTHING, type Results } from './results.ts';

/** The path to which this reporter writes `Results` as JSON. */
export const RESULTS_VARIABLE = 'TEST_RESULTS';

/** Counts the tests of a vitest run. An error outside a test, such as a file that cannot be loaded, counts as a failure. */
export default class ResultsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const path = process.env[RESULTS_VARIABLE];
    if (path === undefined) throw new Error(`${RESULTS_VARIABLE} is not set`);
    const results = modules.map(resultsOf).reduce(add, { ...NOTHING, failed: unhandledErrors.length });
    writeFileSync(path, JSON.stringify(results));
  }
}

function resultsOf(module: TestModule): Results {
  const file = `${module.project.name}: ${module.relativeModuleId}`;
  const tests = [...module.children.allTests()];
  const inState = (state: string) => tests.filter((test) => test.result().state === state);
  const { collectDuration, setupDuration, duration } = module.diagnostic();
  const failedTests = inState('failed').length;
  // A file that fails without a failed test could not be loaded, or one of its hooks failed.
  const failed = failedTests === 0 && !module.ok() ? 1 : failedTests;
  return {
    passed: inState('passed').length,
    failed,
    durations: [{ name: file, ms: collectDuration + setupDuration + duration }],
    skipped: inState('skipped').map((test) => {
      const result = test.result();
      const reason = 'note' in result && result.note !== undefined ? result.note : 'no reason given';
      return { name: `${file} > ${test.fullName}`, reason };
    }),
  };
}
