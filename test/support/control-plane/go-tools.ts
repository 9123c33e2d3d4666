import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, constants, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive, tryLock } from './build-lock.ts';
import { isErrno } from './errno.ts';

/** A Go module whose tools tests need. */
export interface GoModule {
  /** Its folder, absolute. */
  readonly folder: string;
  /** Of its folder in the cache. */
  readonly name: string;
  /** For messages, as in "building the control plane failed". */
  readonly what: string;
  /** File names of the tools, as Go writes them. */
  readonly tools: readonly string[];
  /** What is built and how long that takes, for a message. */
  readonly announce: (goMod: string) => string;
  /** Arguments of `go build`, without the output folder. */
  readonly flags: (goMod: string) => readonly string[];
  /** What to do where there is no Go. */
  readonly remedy: string;
}

export interface BuildOptions {
  /** PATH, HOME, XDG_CACHE_HOME and Go's own variables are read from it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Gets one line of progress at a time, without its end of line. */
  readonly report: (line: string) => void;
}

const REPORT_EVERY_MS = 15_000;
const TAIL_LINES = 25;

/**
 * Builds the tools of `module` once per content of it into the user's cache folder, and resolves to the folder with
 * them. Several processes may call this at once: one builds, the others wait.
 *
 * @throws Error that says that Go is missing, or how the build failed.
 */
export async function ensureGoTools(module: GoModule, options: BuildOptions): Promise<string> {
  const plan = await buildPlan(module, options.env);
  if (await areBuilt(plan)) return plan.dir;
  await requireGo(module, options.env);
  await mkdir(dirname(plan.dir), { recursive: true });
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const lock = await tryLock(`${plan.dir}.lock`);
    if (lock.state === 'acquired') {
      try {
        if (!(await areBuilt(plan))) await buildInto(plan, options);
        return plan.dir;
      } finally {
        await lock.release();
      }
    }
    if (performance.now() - reportedAtMs >= REPORT_EVERY_MS) {
      options.report(`waiting for process ${lock.pid}, which is building ${module.what}`);
      reportedAtMs = performance.now();
    }
    await delay(500);
    if (await areBuilt(plan)) return plan.dir;
  }
}

interface BuildPlan {
  readonly module: GoModule;
  readonly dir: string;
  readonly announcement: string;
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

async function buildPlan(module: GoModule, env: BuildOptions['env']): Promise<BuildPlan> {
  const [goMod = '', goSum] = await Promise.all(
    ['go.mod', 'go.sum'].map((name) => readFile(join(module.folder, name), 'utf8')),
  );
  const flags = module.flags(goMod);
  const goEnv = { CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false -mod=readonly', GOWORK: 'off' };
  const key = createHash('sha256')
    .update(JSON.stringify([goMod, goSum, process.platform, process.arch, flags, goEnv]))
    .digest('hex')
    .slice(0, 16);
  return {
    module,
    dir: join(userCacheDir(env), 'gateway-upstream-operator', module.name, key),
    announcement: module.announce(goMod),
    flags,
    env: goEnv,
  };
}

async function areBuilt({ dir, module }: BuildPlan): Promise<boolean> {
  return (await Promise.all(module.tools.map((name) => isExecutable(join(dir, name))))).every(
    (executable) => executable,
  );
}

function userCacheDir(env: BuildOptions['env']): string {
  const xdg = env['XDG_CACHE_HOME'];
  // The XDG specification: a relative path is invalid and to be ignored.
  if (xdg !== undefined && isAbsolute(xdg)) return xdg;
  const home = env['HOME'] || homedir();
  return process.platform === 'darwin' ? join(home, 'Library', 'Caches') : join(home, '.cache');
}

async function requireGo({ folder, what, remedy }: GoModule, env: BuildOptions['env']): Promise<void> {
  const needed = `Go 1.26 or newer is needed once to build ${what}`;
  try {
    // In the module's folder, so that an older Go fetches the toolchain that go.mod asks for, or says that it cannot.
    const exit = await runGo(folder, ['version'], env, () => undefined);
    if (exit.ok) return;
    throw new Error(`${needed}: ${remedy} (go said: ${exit.tail.at(-1) ?? 'nothing'})`);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new Error(`${needed}, and there is no go in PATH: ${remedy}`);
  }
}

/** Must be called by the holder of the lock. */
async function buildInto(plan: BuildPlan, { env, report }: BuildOptions): Promise<void> {
  const temporary = `${plan.dir}.${process.pid}.tmp`;
  await removeRemains(plan.dir);
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
    const exit = await runGo(
      plan.module.folder,
      args,
      { ...env, ...plan.env, GOOS: undefined, GOARCH: undefined },
      (kind) => {
        if (kind === 'package') packages += 1;
      },
    );
    if (!exit.ok) {
      throw new Error(`building ${plan.module.what} failed after ${elapsed()}:\n${exit.tail.join('\n')}`);
    }
    await publish(temporary, plan);
    report(`built in ${elapsed()}: ${plan.dir}`);
  } finally {
    clearInterval(progress);
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Removes what interrupted builds, or somebody who cleaned up by hand, have left where this build will write. */
async function removeRemains(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true });
  for (const name of await readdir(dirname(dir))) {
    const [key, pid, ending] = name.split('.');
    const isRemains = key === basename(dir) && ending === 'tmp' && !isAlive(Number(pid));
    if (isRemains) await rm(join(dirname(dir), name), { recursive: true, force: true, maxRetries: 5 });
  }
}

async function publish(temporary: string, plan: BuildPlan): Promise<void> {
  try {
    await rename(temporary, plan.dir);
  } catch (error) {
    // The lock may let two in after a crash; the other one's build is as good as this one.
    if (!isErrno(error, 'ENOTEMPTY') && !isErrno(error, 'EEXIST')) throw error;
    if (!(await areBuilt(plan))) throw error;
  }
}

interface GoExit {
  readonly ok: boolean;
  /** The last lines that are more than the name of a package. */
  readonly tail: readonly string[];
}

/** @throws the system's error when go cannot be started, `ENOENT` when it is not in PATH. */
async function runGo(
  folder: string,
  args: readonly string[],
  env: BuildOptions['env'],
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
      if (tail.length === 0 && code !== 0) tail.push(`go ended with ${signal ?? `exit code ${code}`}`);
      settle({ ok: code === 0, tail });
    });
  });
}

export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function durationText(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
