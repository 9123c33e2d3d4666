import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { tryLock } from '../control-plane/build-lock.ts';
import { cachePath } from '../control-plane/tool-cache.ts';

const REPORT_EVERY_MS = 15_000;

/** Runs `action` while no other process that uses this function changes the image store. */
export async function withStoreLock<T>(report: (line: string) => void, action: () => Promise<T>): Promise<T> {
  const path = `${cachePath(process.env, 'buildah')}.lock`;
  await mkdir(dirname(path), { recursive: true });
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const lock = await tryLock(path);
    if (lock.state === 'acquired') {
      try {
        return await action();
      } finally {
        await lock.release();
      }
    }
    if (performance.now() - reportedAtMs >= REPORT_EVERY_MS) {
      report(`waiting for process ${lock.pid}, which builds an image`);
      reportedAtMs = performance.now();
    }
    await delay(200);
  }
}
