import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../eventually.ts';

/** One program of the control plane. It can be stopped, killed and restarted with the same ports and data. */
export interface Component {
  readonly name: string;
  readonly running: boolean;
  readonly pid: number | undefined;
  /** Resolves when it is ready. @throws ComponentStartError if it does not start. */
  start(): Promise<void>;
  /** Sends SIGTERM, and SIGKILL after 10 s. Resolves when it has exited. */
  stop(): Promise<void>;
  /** Sends SIGKILL. Resolves when it has exited. */
  kill(): Promise<void>;
  /** Sends a signal such as SIGSTOP. @throws if it is not running. */
  signal(signal: NodeJS.Signals): void;
}

export interface ComponentOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The folder for its working directory, home and log. */
  readonly dir: string;
  /** Called with the id of every started process, before anything else. */
  readonly started: (pid: number) => void;
  /** Called at each start for a readiness probe. An error counts as not ready. */
  readonly createProbe: () => () => Promise<boolean>;
}

/** The message ends with the last lines of the component's log. */
export class ComponentStartError extends Error {
  override readonly name = 'ComponentStartError';
  readonly portTaken: boolean;

  constructor(message: string, log: string, cause?: unknown) {
    super(`${message}\n${log.trimEnd().split('\n').slice(-LOG_LINES).join('\n')}`, { cause });
    this.portTaken = log.includes('address already in use');
  }
}

const READY_WITHIN_MS = 120_000;
const TERMINATE_WITHIN_MS = 10_000;
const LOG_LINES = 15;
const LOG_BYTES = 64 * 1024;

export function createComponent(options: ComponentOptions): Component {
  const { name, command, args, dir } = options;
  const logPath = join(dir, `${name}.log`);
  let child: ChildProcess | undefined;

  const gone = async (process: ChildProcess): Promise<void> => {
    if (process.exitCode === null && process.signalCode === null) await once(process, 'exit');
  };

  const kill = async (): Promise<void> => {
    const process = child;
    process?.kill('SIGKILL');
    if (process !== undefined) await gone(process);
  };

  return {
    name,
    get running() {
      return child !== undefined;
    },
    get pid() {
      return child?.pid;
    },
    async start() {
      if (child !== undefined) throw new Error(`${name} is already running`);
      const logFile = openSync(logPath, 'a');
      const logStart = statSync(logPath).size;
      const process = spawn(command, args, {
        cwd: dir,
        // A separate process group, so that Ctrl-C in a terminal does not stop it before its tests.
        detached: true,
        stdio: ['ignore', logFile, logFile],
        // No other variables, because etcd and Go programs read options from the environment.
        env: { HOME: dir, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      });
      closeSync(logFile);
      if (process.pid === undefined) {
        const [error] = await once(process, 'error');
        throw new ComponentStartError(`${name} cannot be started`, '', error);
      }
      child = process;
      options.started(process.pid);
      process.once('exit', () => {
        child = undefined;
      });
      const isReady = options.createProbe();
      try {
        await eventually(
          async () => {
            // A response is not sufficient: another program may use the port.
            const ready = child !== process || (await isReady());
            if (!ready) throw new Error('the readiness probe fails');
          },
          { timeoutMs: READY_WITHIN_MS, intervalMs: 50 },
        );
        if (child !== process) {
          throw new Error(`it exited with ${process.signalCode ?? `exit code ${process.exitCode}`}`);
        }
      } catch (error) {
        await kill();
        const message = error instanceof Error ? error.message : String(error);
        // A concurrent close() may have removed the folder.
        const log = await readFrom(logPath, logStart).catch(() => '');
        throw new ComponentStartError(`${name} did not start: ${message}; end of its log:`, log, error);
      }
    },
    async stop() {
      const process = child;
      if (process === undefined) return;
      process.kill('SIGTERM');
      const patience = new AbortController();
      await Promise.race([
        gone(process),
        delay(TERMINATE_WITHIN_MS, undefined, { signal: patience.signal }).catch(() => undefined),
      ]);
      patience.abort();
      await kill();
    },
    kill,
    signal(signal) {
      if (child === undefined) throw new Error(`${name} is not running`);
      child.kill(signal);
    },
  };
}

async function readFrom(path: string, start: number): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const length = Math.min(size - start, LOG_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
