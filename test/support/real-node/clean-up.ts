import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Holds the process id of the first process of the namespaces. */
export const FIRST_PROCESS_FILE = 'first-process';
/** Holds the process id of the runner. */
export const RUNNER_FILE = 'runner';
export const FOLDER_PREFIX = 'gateway-upstream-operator-node-';

const CGROUPS = '/sys/fs/cgroup';

/** The cgroup of everything in the namespaces, below every controller. */
export function cgroupOf(folder: string): string {
  return basename(folder);
}

/**
 * Ends everything that runs in the namespaces of `folder`, and removes what outlives namespaces: cgroups and the folder. May be
 * called again, by any process.
 */
export async function cleanUp(folder: string): Promise<void> {
  const first = firstProcess(folder);
  // The kernel ends all processes of the namespaces with their first one.
  while (first !== undefined && isFirstProcess(first, folder)) {
    process.kill(first, 'SIGKILL');
    await delay(50);
  }
  for (const cgroup of cgroupFolders(cgroupOf(folder))) await removeCgroup(cgroup);
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

function firstProcess(folder: string): number | undefined {
  try {
    return Number(readFileSync(join(folder, FIRST_PROCESS_FILE), 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

/** Its id may belong to another process by now; every command line of a first process has the folder's unique name. */
function isFirstProcess(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
  } catch {
    return false;
  }
}

/** In every hierarchy: version 1 has one per controller, version 2 has one. */
export function hierarchies(): readonly string[] {
  if (existsSync(join(CGROUPS, 'cgroup.controllers'))) return [CGROUPS];
  return readdirSync(CGROUPS).map((name) => join(CGROUPS, name));
}

function cgroupFolders(name: string): readonly string[] {
  return hierarchies()
    .map((hierarchy) => join(hierarchy, name))
    .filter((path) => existsSync(path));
}

/** A cgroup can be removed once its processes are gone, which the kernel may take a moment for. */
async function removeCgroup(path: string): Promise<void> {
  for (let attempt = 0; attempt < 100 && existsSync(path); attempt += 1) {
    const folders = readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
    try {
      // The deepest first.
      for (const folder of [...folders.sort().reverse(), path]) rmdirSync(folder);
    } catch {
      await delay(50);
    }
  }
}
