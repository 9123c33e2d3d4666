import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Starts a program of a folder that `ensureJavaServer` made. Disposing stops it with SIGTERM. */
export function startJavaProgram(built: string, main: string, args: readonly string[]): AsyncDisposable {
  const classPath = [join(built, 'classes'), join(built, 'lib/*')].join(':');
  const child = spawn('/usr/bin/java', ['-Xmx128m', '-cp', classPath, main, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(child, 'exit');
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
