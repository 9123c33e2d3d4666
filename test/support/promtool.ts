import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureGoTools, type GoModule } from './control-plane/go-tools.ts';

const MODULE: GoModule = {
  folder: fileURLToPath(new URL('../promtool/', import.meta.url)),
  name: 'promtool',
  what: 'promtool',
  tools: ['promtool'],
  announce: () =>
    "building promtool from source (about 3 minutes on 2 cores the first time, seconds when Go's build cache is warm)",
  // Service discoveries are most of the code of Prometheus, and rules do not need them.
  flags: () => ['-tags=remove_all_sd', '-trimpath', '-ldflags', '-s -w'],
  remedy: 'install it from https://go.dev/dl',
};

export async function ensurePromtool(): Promise<string> {
  const report = (line: string) => process.stderr.write(`${line}\n`);
  return join(await ensureGoTools(MODULE, { env: process.env, report }), 'promtool');
}

/** Runs promtool. Resolves to its output, or rejects with it if promtool fails. */
export async function promtool(...args: readonly string[]): Promise<string> {
  const path = await ensurePromtool();
  return await new Promise((settle, fail) => {
    execFile(path, args, (cause, stdout, stderr) => {
      if (cause === null) settle(stdout);
      else fail(new Error(`promtool ${args.join(' ')}:\n${stdout}${stderr}`, { cause }));
    });
  });
}
