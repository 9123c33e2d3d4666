/**
 * Runs in a process of its own beside a control plane, and cleans up after it however its starter ends: its standard
 * input is a pipe from the starter, which the system closes even after SIGKILL. Argument: the control plane's folder.
 * Input: one process id per line.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const [dir] = process.argv.slice(2);
if (dir === undefined) throw new Error('usage: watchdog.ts <folder of a control plane>');

let input = '';
try {
  for await (const chunk of process.stdin) input += String(chunk);
} catch {
  // A pipe that breaks ends as well.
}
const pids = input.split('\n').filter((line) => line !== '');
for (let attempt = 0; attempt < 100; attempt += 1) {
  const running = pids.map(Number).filter((pid) => isOurs(pid, dir));
  if (running.length === 0) break;
  for (const pid of running) killGroup(pid);
  await delay(50);
}
rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });

/** A process id may have gone to somebody else since: every component has the folder's unique name in its arguments. */
function isOurs(pid: number, folder: string): boolean {
  try {
    const commandLine =
      process.platform === 'linux'
        ? readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        : execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
    return commandLine.includes(folder);
  } catch {
    return false;
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
