import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RESULTS_VARIABLE } from './reporter.ts';
import { add, NOTHING, type Results } from './results.ts';
import type { Step } from './steps.ts';

const REPORTER = fileURLToPath(new URL('reporter.ts', import.meta.url));

/** Runs all steps in order, also after a failed one. */
export async function runSteps(steps: readonly Step[]): Promise<Results> {
  let total = NOTHING;
  for (const step of steps) {
    total = add(total, await (step.kind === 'command' ? runCommand(step.command) : runSuites(step)));
  }
  return total;
}

async function runCommand(words: readonly [string, ...string[]]): Promise<Results> {
  const [command, ...args] = words;
  const startedAt = performance.now();
  const ok = await run(command, args);
  const durations = [{ name: words.join(' '), ms: performance.now() - startedAt }];
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, durations, skipped: [] };
}

async function runSuites({ projects, launcher }: Step & { kind: 'suites' }): Promise<Results> {
  const folder = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-tests-'));
  const path = join(folder, 'results.json');
  const selected = projects.flatMap((name) => ['--project', name]);
  try {
    const vitest = ['vitest', 'run', ...selected, '--reporter=default', `--reporter=${REPORTER}`];
    const [command = '', ...args] = [...(launcher ?? []), ...vitest];
    const ok = await run(command, args, { [RESULTS_VARIABLE]: path });
    const results = JSON.parse(await readFile(path, 'utf8')) as Results;
    // vitest can fail for errors that its reporters do not receive.
    return ok || results.failed > 0 ? results : { ...results, failed: 1 };
  } catch (error) {
    process.stderr.write(`the suites wrote no results: ${error instanceof Error ? error.message : error}\n`);
    return { ...NOTHING, failed: 1 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<boolean> {
  process.stdout.write(`\n> ${command} ${args.join(' ')}\n`);
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    child.once('error', (error) => {
      process.stderr.write(`${command} could not be started: ${error.message}\n`);
      resolve(false);
    });
    child.once('exit', (code) => resolve(code === 0));
  });
}
