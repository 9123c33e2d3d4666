import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../eventually.ts';

/** One program of the control plane: it can be stopped, killed and started again, with the same ports and data. */
export interface Component {
  readonly name: string;
  readonly running: boolean;
  readonly pid: number | undefined;
  /** Resolves when it is ready. @throws ComponentStartError, and then it does not run. */
  start(): Promise<void>;
  /** SIGTERM, and SIGKILL after 10 s; resolves when it is gone. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** For SIGSTOP and the like. @throws when it does not run. */
  signal(signal: NodeJS.Signals): void;
}

export interface ComponentOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Its working folder, home and place for its log. */
  readonly dir: string;
  /** Told the id of every process that is started, before anything else happens. */
  readonly started: (pid: number) => void;
  /** Called at each start for a probe that answers whether it is ready; an error counts as "not yet". */
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
        // A process group of its own: Ctrl-C in a terminal must not reach it behind the back of its tests.
        detached: true,
        stdio: ['ignore', logFile, logFile],
        // Nothing else from the environment: etcd and Go programs take options from there.
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
            // An answer alone proves nothing: it could come from another program that has taken the port.
            const ready = child !== process || (await isReady());
            if (!ready) throw new Error('it answers that it is not ready');
          },
          { timeoutMs: READY_WITHIN_MS, intervalMs: 50 },
        );
        if (child !== process) {
          throw new Error(`it ended with ${process.signalCode ?? `exit code ${process.exitCode}`}`);
        }
      } catch (error) {
        await kill();
        const message = error instanceof Error ? error.message : String(error);
        // Its folder may have been removed meanwhile, by a close() that this start lost against.
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
      if (child === undefined) throw new Error(`${name} does not run`);
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
