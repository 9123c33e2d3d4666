import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { isErrno } from './errno.ts';

const HEARTBEAT_MS = 5_000;
/** A running holder updates its lock twelve times in this period. */
const STALE_AFTER_MS = 60_000;

export type LockAttempt =
  | { readonly state: 'acquired'; release(): Promise<void> }
  | { readonly state: 'held'; readonly pid: number };

/**
 * Tries once to acquire the lock file. The file contains the id of its holder, which updates it every five seconds. A lock
 * is stale if its holder does not run or does not update it any more (another process may have the same id).
 *
 * Two processes can acquire the same stale lock at the same moment. Callers must be correct in this case, and only repeat
 * work.
 */
export async function tryLock(path: string): Promise<LockAttempt> {
  for (;;) {
    try {
      await writeFile(path, `${process.pid}\n`, { flag: 'wx' });
      return { state: 'acquired', release: keepAlive(path) };
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    const pid = await holder(path);
    if (pid !== undefined) return { state: 'held', pid };
    await rm(path, { force: true });
  }
}

function keepAlive(path: string): () => Promise<void> {
  const heartbeat = setInterval(() => {
    const now = new Date();
    // A failed update is repeated at the next interval.
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  return async () => {
    clearInterval(heartbeat);
    await rm(path, { force: true });
  };
}

/** The process that holds the lock; undefined if the lock is stale or does not exist. */
async function holder(path: string): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(path, 'utf8'));
    const fresh = Date.now() - (await stat(path)).mtimeMs < STALE_AFTER_MS;
    // An empty file belongs to a holder that has not written its id yet.
    return fresh && (pid === 0 || isAlive(pid)) ? pid : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Whether a process has this id, including zombie processes. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}
