import { access, constants, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive, tryLock } from './build-lock.ts';
import { isErrno } from './errno.ts';

export interface ToolOptions {
  /** The environment: PATH, HOME, XDG_CACHE_HOME, and the variables of Go and the release servers. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Called with each line of progress, without its line end. */
  readonly report: (line: string) => void;
}

/** A tool is missing on this machine. The message says what to install. Suites that need the tool are skipped. */
export class ToolMissingError extends Error {
  override readonly name = 'ToolMissingError';
}

/** A folder of the cache that exists either with all its files or not at all. */
export interface CachedFolder {
  /** An absolute path that contains the version and everything else that determines the content. */
  readonly dir: string;
  /** The names of its files, which are executable. */
  readonly files: readonly string[];
  /** For messages, as in "waiting for process 7, which prepares the control plane". */
  readonly what: string;
}

const REPORT_EVERY_MS = 15_000;

/** `<user's cache folder>/gateway-upstream-operator/<parts>`. */
export function cachePath(env: ToolOptions['env'], ...parts: readonly string[]): string {
  return join(userCacheDir(env), 'gateway-upstream-operator', ...parts);
}

function userCacheDir(env: ToolOptions['env']): string {
  const xdg = env['XDG_CACHE_HOME'];
  // The XDG specification requires to ignore a relative path.
  if (xdg !== undefined && isAbsolute(xdg)) return xdg;
  const home = env['HOME'] || homedir();
  return process.platform === 'darwin' ? join(home, 'Library', 'Caches') : join(home, '.cache');
}

export async function isCached({ dir, files }: CachedFolder): Promise<boolean> {
  return (await Promise.all(files.map((name) => isExecutable(join(dir, name))))).every((found) => found);
}

/**
 * Fills the folder once. If several processes call this at the same time, one fills it and the others wait. `fill` writes to
 * a temporary folder, which becomes `dir` when it resolves, and is removed when it rejects.
 */
export async function fillOnce(
  folder: CachedFolder,
  { report }: ToolOptions,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  await mkdir(dirname(folder.dir), { recursive: true });
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  while (!(await isCached(folder))) {
    const lock = await tryLock(`${folder.dir}.lock`);
    if (lock.state === 'acquired') {
      try {
        if (!(await isCached(folder))) await fillNow(folder, fill);
        return;
      } finally {
        await lock.release();
      }
    }
    if (performance.now() - reportedAtMs >= REPORT_EVERY_MS) {
      report(`waiting for process ${lock.pid}, which prepares ${folder.what}`);
      reportedAtMs = performance.now();
    }
    await delay(500);
  }
}

/** The caller must hold the lock. */
async function fillNow(folder: CachedFolder, fill: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${folder.dir}.${process.pid}.tmp`;
  await removeRemains(folder.dir);
  try {
    await mkdir(temporary);
    await fill(temporary);
    await publish(temporary, folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Removes the remains of interrupted processes from the target folders. */
async function removeRemains(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true });
  for (const name of await readdir(dirname(dir))) {
    const [, pid] = name.startsWith(`${basename(dir)}.`)
      ? (/\.(\d+)\.tmp$/.exec(name.slice(basename(dir).length)) ?? [])
      : [];
    if (pid === undefined || isAlive(Number(pid))) continue;
    await rm(join(dirname(dir), name), { recursive: true, force: true, maxRetries: 5 });
  }
}

async function publish(temporary: string, folder: CachedFolder): Promise<void> {
  try {
    await rename(temporary, folder.dir);
  } catch (error) {
    // After a crash, two processes may hold the lock. The result of the other one is equivalent.
    if (!isErrno(error, 'ENOTEMPTY') && !isErrno(error, 'EEXIST')) throw error;
    if (!(await isCached(folder))) throw error;
  }
}

export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function durationText(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
