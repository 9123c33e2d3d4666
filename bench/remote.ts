import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The calls that a process of the benchmark answers. Arguments and results are copied. */
type Handlers = Readonly<Record<string, (argument: never) => unknown>>;

interface Question {
  readonly seq: number;
  readonly name: string;
  readonly argument: unknown;
}

type Reply =
  | { readonly seq: number; readonly result: unknown }
  | { readonly seq: number; readonly error: string };

/** A separate process, so that the measurement does not delay what it measures. */
export interface Remote<H extends Handlers> extends AsyncDisposable {
  readonly process: ChildProcess;
  /** Rejects with the handler's error, or when the process exits. */
  ask<K extends keyof H & string>(name: K, ...argument: Parameters<H[K]>): Promise<Awaited<ReturnType<H[K]>>>;
}

/** Called by the process itself. The process exits with its parent. */
export function serve(handlers: Handlers): void {
  process.on('message', async ({ seq, name, argument }: Question) => {
    let reply: Reply;
    try {
      reply = { seq, result: await handlers[name]?.(argument as never) };
    } catch (error) {
      reply = { seq, error: error instanceof Error ? error.message : String(error) };
    }
    process.send?.(reply);
  });
  process.on('disconnect', () => process.exit());
}

/** Starts `module`, the path of a file relative to this folder. */
export function startRemote<H extends Handlers>(module: string): Remote<H> {
  const child = fork(fileURLToPath(new URL(module, import.meta.url)), {
    serialization: 'advanced',
    execArgv: [],
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let seq = 0;
  child.on('message', (reply: Reply) => {
    const question = waiting.get(reply.seq);
    waiting.delete(reply.seq);
    if ('error' in reply) question?.reject(new Error(`${module}: ${reply.error}`));
    else question?.resolve(reply.result);
  });
  child.once('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`${module} ended with ${code}`));
  });
  return {
    process: child,
    ask: async (name, argument?: unknown) => {
      if (!child.connected) throw new Error(`${module} has ended`);
      seq += 1;
      const question = Promise.withResolvers<unknown>();
      waiting.set(seq, question);
      child.send({ seq, name, argument } satisfies Question);
      return (await question.promise) as never;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
