/**
 * A separate process that cleans up a control plane when the process that started it exits. Its standard input is a pipe
 * from that process, which the system closes even after SIGKILL. Argument: the folder of the control plane. Input: one
 * process id per line.
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
  // A broken pipe ends the loop too.
}
const pids = input.split('\n').filter((line) => line !== '');
for (let attempt = 0; attempt < 100; attempt += 1) {
  const running = pids.map(Number).filter((pid) => isOurs(pid, dir));
  if (running.length === 0) break;
  for (const pid of running) killGroup(pid);
  await delay(50);
}
rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });

/** Another process may have the same id now. Every component has the unique name of the folder in its arguments. */
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
    // The process has already exited.
  }
}
