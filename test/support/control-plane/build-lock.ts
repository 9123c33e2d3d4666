import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { isErrno } from './errno.ts';

const HEARTBEAT_MS = 5_000;
/** A holder that is alive touches its lock twelve times in this time. */
const STALE_AFTER_MS = 60_000;

export type LockAttempt =
  | { readonly state: 'acquired'; release(): Promise<void> }
  | { readonly state: 'held'; readonly pid: number };

/**
 * Tries once to take the lock file. It names its holder, who touches it every five seconds; the lock of a process
 * that is gone, or of one that stopped touching it (its id may live on in another process), is taken over.
 *
 * Two processes that take over the same stale lock in the same instant may both succeed: callers must still be
 * correct then, and only waste work.
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
    // The next beat makes good for one that failed.
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  return async () => {
    clearInterval(heartbeat);
    await rm(path, { force: true });
  };
}

/** The process that holds the lock, or undefined when the lock is stale or has gone. */
async function holder(path: string): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(path, 'utf8'));
    const fresh = Date.now() - (await stat(path)).mtimeMs < STALE_AFTER_MS;
    // An empty file is one whose holder is about to write its id.
    return fresh && (pid === 0 || isAlive(pid)) ? pid : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Whether a process has this id; one that has ended but was not yet waited for by its parent still has it. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}
