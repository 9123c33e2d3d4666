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
  const name = words.join(' ');
  const durations = [{ name, ms: performance.now() - startedAt }];
  return {
    ...NOTHING,
    durations,
    ...(ok ? { passed: 1 } : { failed: [{ name, reason: 'see its output' }] }),
  };
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
    const reason = 'the command failed, but no test did';
    return ok || results.failed.length > 0
      ? results
      : { ...results, failed: [{ name: projects.join(', '), reason }] };
  } catch (error) {
    const reason = `wrote no results: ${error instanceof Error ? error.message : error}`;
    return { ...NOTHING, failed: [{ name: projects.join(', '), reason }] };
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
