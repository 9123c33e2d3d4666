import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Every check and every suite, one after the other; the last line counts them all. */

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

const total: Count = { passed: 0, failed: 0, skipped: 0 };

function run(command: string, args: readonly string[]): Promise<boolean> {
  process.stdout.write(`\n> ${command} ${args.join(' ')}\n`);
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'inherit' });
    child.once('error', (error) => {
      process.stderr.write(`${command} could not be started: ${error.message}\n`);
      resolve(false);
    });
    child.once('exit', (code) => resolve(code === 0));
  });
}

async function step(command: string, ...args: readonly string[]): Promise<void> {
  if (await run(command, args)) total.passed += 1;
  else total.failed += 1;
}

async function suites(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-tests-'));
  const report = join(folder, 'report.json');
  try {
    const ok = await run('vitest', [
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ]);
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numFailedTestSuites } = JSON.parse(
      await readFile(report, 'utf8'),
    ) as Record<
      'numPassedTests' | 'numFailedTests' | 'numPendingTests' | 'numTodoTests' | 'numFailedTestSuites',
      number
    >;
    total.passed += numPassedTests;
    total.skipped += numPendingTests + numTodoTests;
    // A file that cannot be loaded, or an error outside any test, fails the run without failing a test.
    total.failed += numFailedTests > 0 || ok ? numFailedTests : Math.max(1, numFailedTestSuites);
  } catch (error) {
    process.stderr.write(`the suites left no report: ${error instanceof Error ? error.message : error}\n`);
    total.failed += 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await step('biome', 'ci', '.');
await step('tsc', '--noEmit');
await step('knip');
await step('rolldown', '-c', 'rolldown.config.ts');
await step('node', 'bench/main.ts', '--short');
await suites();
await step('node', 'chaos/main.ts', '--seeds', '1-5', '--steps', '200');

const skipped = total.skipped === 0 ? '' : `, ${total.skipped} skipped`;
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${skipped}\n`);
process.exitCode = total.failed === 0 ? 0 : 1;
