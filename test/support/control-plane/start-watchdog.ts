import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface Watchdog {
  register(pid: number): void;
  /** Has it clean up now; resolves when it has. */
  end(): Promise<void>;
}

/** Cleans up after the programs that run in `dir`, however this process ends. */
export function startWatchdog(dir: string): Watchdog {
  const script = fileURLToPath(new URL('./watchdog.ts', import.meta.url));
  const watchdog = spawn(process.execPath, [script, dir], {
    cwd: tmpdir(),
    // A session of its own: what ends the starter's group or terminal must not end it as well.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: '/usr/bin:/bin' },
  });
  const gone = once(watchdog, 'exit');
  // The pipe breaks when the watchdog is ended from outside; close() cleans up without it too.
  watchdog.stdin.on('error', () => undefined);
  return {
    register: (pid) => watchdog.stdin.write(`${pid}\n`),
    async end() {
      watchdog.stdin.end();
      await gone;
    },
  };
}
