import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { glob, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isErrno } from '../control-plane/errno.ts';
import {
  type CachedFolder,
  cachePath,
  durationText,
  fillOnce,
  isCached,
  ToolMissingError,
  type ToolOptions,
} from '../control-plane/tool-cache.ts';

/** A Maven project that makes a server: its classes and the libraries that they need. */
export interface JavaServer {
  /** Its folder with `pom.xml` and `src`, absolute. */
  readonly folder: string;
  /** Of its folder in the cache. */
  readonly name: string;
  /** For messages. */
  readonly what: string;
}

const REPORT_EVERY_MS = 15_000;
const TAIL_LINES = 25;
/** Empty: it says that the folder is complete. */
const MARK = 'complete';

/**
 * Builds the server once per content of its project into the user's cache folder. Resolves to a folder with `classes` and `lib`.
 *
 * @throws ToolMissingError where there is no Maven or no Java, and Error that says how the build failed.
 */
export async function ensureJavaServer(
  { folder, name, what }: JavaServer,
  options: ToolOptions = { env: process.env, report: (line) => process.stderr.write(`${line}\n`) },
): Promise<string> {
  const key = await keyOf(folder);
  const cached: CachedFolder = { dir: cachePath(options.env, name, key), files: [MARK], what };
  if (await isCached(cached)) return cached.dir;
  await requireMaven(what);
  await fillOnce(cached, options, async (temporary) => {
    options.report(`downloading and building ${what} with Maven (about 1 minute the first time)`);
    const startedMs = performance.now();
    const elapsed = () => durationText(performance.now() - startedMs);
    const progress = setInterval(() => options.report(`Maven has run for ${elapsed()}`), REPORT_EVERY_MS);
    try {
      await run('mvn', mavenArgs(folder, temporary));
      await writeFile(join(temporary, MARK), '', { mode: 0o755 });
      options.report(`built in ${elapsed()}: ${cached.dir}`);
    } finally {
      clearInterval(progress);
    }
  });
  return cached.dir;
}

function mavenArgs(folder: string, target: string): readonly string[] {
  return [
    '--batch-mode',
    '--quiet',
    `--file=${join(folder, 'pom.xml')}`,
    `-DoutputDirectory=${join(target, 'lib')}`,
    '-DincludeScope=runtime',
    `-DbuildDirectory=${target}`,
    'compile',
    'dependency:copy-dependencies',
  ];
}

async function keyOf(folder: string): Promise<string> {
  const files: string[] = [];
  for await (const file of glob('{pom.xml,src/**/*.*}', { cwd: folder })) files.push(file);
  const hash = createHash('sha256');
  for (const file of files.sort()) hash.update(`${file}\0`).update(await readFile(join(folder, file)));
  return hash.digest('hex').slice(0, 16);
}

async function requireMaven(what: string): Promise<void> {
  try {
    await run('mvn', ['--version']);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new ToolMissingError(
      `Maven and Java 17 are needed once to build ${what}, and there is no mvn in PATH: install them`,
    );
  }
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const tail: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => {
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
    });
  }
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ended with exit code ${code}:\n${tail.join('\n')}`));
    });
  });
}
