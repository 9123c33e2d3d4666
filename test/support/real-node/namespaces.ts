import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isAlive } from '../control-plane/build-lock.ts';
import { cleanUp, FOLDER_PREFIX, NODE_FOLDER_VARIABLE, RUNNER_FILE } from './clean-up.ts';

const ENTER = fileURLToPath(new URL('enter.sh', import.meta.url));
const REAPER = fileURLToPath(new URL('reaper.ts', import.meta.url));

/**
 * Runs a command in network, mount and process namespaces of its own, and resolves to its exit code. Inside there is loopback and one
 * bridge, and no way out. Whatever ends the command or this process, nothing is left: neither processes nor mounts, interfaces,
 * nftables, cgroups or files.
 */
export async function runInNamespaces(
  command: readonly [string, ...string[]],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  await removeRemains();
  const folder = await mkdtemp(join(tmpdir(), FOLDER_PREFIX));
  await writeFile(join(folder, RUNNER_FILE), String(process.pid));
  const reaper = spawn(process.execPath, [REAPER, folder], {
    // A session of its own: what ends this process's group or terminal must not end it as well.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  const reaped = once(reaper, 'exit');
  reaper.stdin.on('error', () => undefined);
  try {
    // The folder's name is an argument: cleanUp finds the processes by it.
    const script = ['sh', ENTER, 'env', `${NODE_FOLDER_VARIABLE}=${folder}`, ...command];
    const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const child = spawn('unshare', [...namespaces, '--propagation', 'private', ...script], {
      stdio: 'inherit',
      env: { ...env },
    });
    const [code] = await once(child, 'close');
    return typeof code === 'number' ? code : 1;
  } finally {
    reaper.stdin.end();
    await reaped;
    await cleanUp(folder);
  }
}

/** What runners have left whose reaper was ended too, such as by a machine that was switched off. */
async function removeRemains(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(FOLDER_PREFIX)) continue;
    const folder = join(tmpdir(), name);
    const runner = Number(await readFile(join(folder, RUNNER_FILE), 'utf8').catch(() => '0'));
    if (runner === 0 ? await isOld(folder) : !isAlive(runner)) await cleanUp(folder);
  }
}

/** A folder without the id of its runner is one that another runner is making just now, or has not finished making. */
async function isOld(folder: string): Promise<boolean> {
  return await stat(folder).then(
    ({ mtimeMs }) => Date.now() - mtimeMs > 60_000,
    () => false,
  );
}
