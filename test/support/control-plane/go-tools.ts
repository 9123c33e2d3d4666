import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isErrno } from './errno.ts';
import {
  type CachedFolder,
  cachePath,
  durationText,
  fillOnce,
  isCached,
  ToolMissingError,
  type ToolOptions,
} from './tool-cache.ts';

/** A Go module with tools for tests. Each has its own cache key; all share Go's caches. */
export interface GoModule {
  /** The absolute path of its folder. */
  readonly folder: string;
  /** The name of its folder in the cache. */
  readonly name: string;
  /** For messages, as in "building the control plane failed". */
  readonly what: string;
  /** The file names of the tools in a Go build. */
  readonly tools: readonly string[];
  /** The module's own source files, relative to its folder. */
  readonly sources?: readonly string[];
  /** The content and duration of the build, for a message. */
  readonly announce: (goMod: string) => string;
  /** Arguments of `go build`, without the output folder. */
  readonly flags: (goMod: string) => readonly string[];
  /** The remedy if Go is missing. */
  readonly remedy: string;
}

const REPORT_EVERY_MS = 15_000;
const TAIL_LINES = 25;

/** The folder with the tools of `module`, if they are already built. */
export async function builtTools(module: GoModule, env: ToolOptions['env']): Promise<string | undefined> {
  const plan = await buildPlan(module, env);
  return (await isCached(plan)) ? plan.dir : undefined;
}

/**
 * Builds the tools of `module` into the user's cache folder, once per content of the module. Resolves to the folder.
 *
 * @throws ToolMissingError if Go is missing, and Error if the build fails.
 */
export async function ensureGoTools(module: GoModule, options: ToolOptions): Promise<string> {
  const plan = await buildPlan(module, options.env);
  if (!(await isCached(plan))) {
    await requireGo(module, options.env);
    await fillOnce(plan, options, (temporary) => buildInto(temporary, plan, options));
  }
  return plan.dir;
}

interface BuildPlan extends CachedFolder {
  readonly module: GoModule;
  readonly announcement: string;
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

async function buildPlan(module: GoModule, env: ToolOptions['env']): Promise<BuildPlan> {
  const [goMod = '', goSum, ...sources] = await Promise.all(
    ['go.mod', 'go.sum', ...(module.sources ?? [])].map((name) =>
      readFile(join(module.folder, name), 'utf8'),
    ),
  );
  const flags = module.flags(goMod);
  const goEnv = { CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false -mod=readonly', GOWORK: 'off' };
  const key = createHash('sha256')
    .update(JSON.stringify([goMod, goSum, ...sources, process.platform, process.arch, flags, goEnv]))
    .digest('hex')
    .slice(0, 16);
  return {
    module,
    dir: cachePath(env, module.name, key),
    files: module.tools,
    what: module.what,
    announcement: module.announce(goMod),
    flags,
    env: goEnv,
  };
}

async function requireGo({ folder, what, remedy }: GoModule, env: ToolOptions['env']): Promise<void> {
  const needed = `Go 1.26 or newer is needed once to build ${what}`;
  try {
    // In the module's folder, so that an older Go downloads the toolchain in go.mod or reports that it cannot.
    const exit = await runGo(folder, ['version'], env, () => undefined);
    if (exit.ok) return;
    throw new ToolMissingError(`${needed}: ${remedy} (go said: ${exit.tail.at(-1) ?? 'nothing'})`);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new ToolMissingError(`${needed}, and PATH contains no go: ${remedy}`);
  }
}

async function buildInto(temporary: string, plan: BuildPlan, { env, report }: ToolOptions): Promise<void> {
  report(plan.announcement);
  const startedMs = performance.now();
  const elapsed = () => durationText(performance.now() - startedMs);
  let packages = 0;
  const progress = setInterval(
    () => report(`building for ${elapsed()}, ${packages} packages compiled so far`),
    REPORT_EVERY_MS,
  );
  try {
    const args = ['build', '-v', ...plan.flags, '-o', `${temporary}/`, 'tool'];
    const goEnv = { ...env, ...plan.env, GOOS: undefined, GOARCH: undefined };
    const exit = await runGo(plan.module.folder, args, goEnv, (kind) => {
      if (kind === 'package') packages += 1;
    });
    if (!exit.ok)
      throw new Error(`building ${plan.what} failed after ${elapsed()}:\n${exit.tail.join('\n')}`);
    report(`built in ${elapsed()}: ${plan.dir}`);
  } finally {
    clearInterval(progress);
  }
}

interface GoExit {
  readonly ok: boolean;
  /** The last lines of output, without names of packages. */
  readonly tail: readonly string[];
}

/** @throws the system error if go cannot be started, such as `ENOENT` if it is not in PATH. */
async function runGo(
  folder: string,
  args: readonly string[],
  env: ToolOptions['env'],
  onLine: (kind: 'package' | 'other') => void,
): Promise<GoExit> {
  const go = spawn('go', args, { cwd: folder, env: { ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  const tail: string[] = [];
  createInterface(go.stderr).on('line', (line) => {
    const isPackage = /^[\w.~/-]+$/.test(line);
    onLine(isPackage ? 'package' : 'other');
    if (isPackage) return;
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
  });
  return new Promise((settle, fail) => {
    go.once('error', fail);
    go.once('close', (code, signal) => {
      if (tail.length === 0 && code !== 0) tail.push(`go exited with ${signal ?? `exit code ${code}`}`);
      settle({ ok: code === 0, tail });
    });
  });
}
