import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { ensureHelm } from '../support/chart/helm-binary.ts';
import { ensureBinaries } from '../support/control-plane/binaries.ts';
import { durationText, ToolMissingError } from '../support/control-plane/tool-cache.ts';
import { inScratch } from '../support/image/scratch.ts';
import { runInNamespaces } from '../support/real-node/namespaces.ts';
import { requireRealNode } from '../support/real-node/prerequisites.ts';
import { buildImages, buildMoreImages } from './images.ts';
import { IMAGES_VARIABLE, MISSING_VARIABLE } from './variables.ts';

/**
 * `node test/e2e/launch.ts [--all] COMMAND...` builds programs and images, and runs the command, which is vitest, in namespaces where a
 * real node can be started. `--all` builds what the long scenarios need too. Where something is missing on this machine, the command
 * runs without namespaces, and its tests are skipped with the reason.
 */

const report = (line: string) => process.stderr.write(`${line}\n`);

async function build(folder: string, all: boolean): Promise<void> {
  await requireRealNode();
  const options = { env: process.env, report };
  await ensureBinaries(options);
  await ensureHelm(options);
  await buildImages({ folder, report });
  if (all) await buildMoreImages({ folder, report });
}

const words = process.argv.slice(2);
const all = words[0] === '--all';
const [command, ...args] = all ? words.slice(1) : words;
if (command === undefined) throw new Error('usage: launch.ts [--all] COMMAND...');
try {
  await inScratch(async (folder) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        rmSync(folder, { recursive: true, force: true });
        process.exit(1);
      });
    }
    const startedMs = performance.now();
    await build(folder, all);
    report(`programs and images are ready after ${durationText(performance.now() - startedMs)}`);
    const env = { ...process.env, [IMAGES_VARIABLE]: folder };
    process.exitCode = await runInNamespaces([command, ...args], env);
  });
} catch (error) {
  if (!(error instanceof ToolMissingError)) throw error;
  const child = spawn(command, args, {
    stdio: 'inherit',
    env: { ...process.env, [MISSING_VARIABLE]: error.message },
  });
  const [code] = await once(child, 'close');
  process.exitCode = code ?? 1;
}
