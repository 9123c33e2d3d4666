import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Names the folder of the node in the environment of its command, and in the command line of the first process. */
export const NODE_FOLDER_VARIABLE = 'REAL_NODE_FOLDER';
/** Holds the process id of the runner. */
export const RUNNER_FILE = 'runner';
export const FOLDER_PREFIX = 'gateway-upstream-operator-node-';

const CGROUPS = '/sys/fs/cgroup';
const END_WITHIN_MS = 30_000;

/** The cgroup of everything in the namespaces, below every controller. */
export function cgroupOf(folder: string): string {
  return basename(folder);
}

/**
 * Ends everything that runs in the namespaces of `folder`, and removes what outlives namespaces: cgroups and the folder. May be
 * called again, by any process. Rejects, and keeps the folder for the next run, if something does not go away.
 */
export async function cleanUp(folder: string): Promise<void> {
  await endProcesses(folder);
  for (const cgroup of cgroupFolders(cgroupOf(folder))) await removeCgroup(cgroup);
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

/**
 * Kills `unshare` and the first process of the namespaces: the kernel ends all other processes with them. They are found by their
 * command lines, so that no moment exists in which they run and are not known.
 */
async function endProcesses(folder: string): Promise<void> {
  const deadlineMs = performance.now() + END_WITHIN_MS;
  // Twice none: a process that is being started has the command line of its parent for an instant.
  for (let none = 0; none < 2; await delay(50)) {
    const running = processesOf(folder);
    none = running.length === 0 ? none + 1 : 0;
    for (const pid of running) kill(pid);
    if (none === 0 && performance.now() > deadlineMs) {
      throw new Error(`processes ${running.join(', ')} of ${folder} do not end`);
    }
  }
}

function processesOf(folder: string): readonly number[] {
  const mark = `${NODE_FOLDER_VARIABLE}=${folder}\0`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && commandLine(name).includes(mark))
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
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
  if (existsSync(path)) throw new Error(`cgroup ${path} cannot be removed`);
}
