import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isAlive } from '../control-plane/build-lock.ts';

const PREFIX = 'gateway-upstream-operator-image-';

/**
 * Passes a temporary folder to `action`, and removes it afterwards. The folder's name contains the id of this process. A killed process
 * leaves its folder; the next call removes it.
 */
export async function inScratch<T>(action: (folder: string) => Promise<T>): Promise<T> {
  await removeRemains();
  const folder = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
  try {
    return await action(folder);
  } finally {
    await removeFolder(folder);
  }
}

async function removeRemains(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const [, pid] = name.startsWith(PREFIX) ? (/^(\d+)-/.exec(name.slice(PREFIX.length)) ?? []) : [];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const folder = join(tmpdir(), name);
    const owner = await stat(folder).catch(() => undefined);
    if (owner?.uid !== process.getuid?.()) continue;
    // A child of the killed process can still write to the folder. The next call tries again.
    await removeFolder(folder).catch(() => undefined);
  }
}

async function removeFolder(folder: string): Promise<void> {
  // A killed debootstrap leaves /proc and /sys mounted. To remove files below them would change the machine.
  const mounts = await readFile('/proc/self/mounts', 'utf8').catch(() => '');
  const below = mounts
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`));
  for (const path of below.reverse()) await promisify(execFile)('umount', ['--lazy', path]);
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
