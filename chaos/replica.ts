import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type ChaosProxy, startChaosProxy } from '../test/support/chaos-proxy.ts';
import type { ClusterAccess } from '../test/support/control-plane/cluster-access.ts';
import { writeKubeconfig } from '../test/support/control-plane/cluster-access.ts';
import { type Operator, type OperatorOptions, startOperator } from '../test/support/operator.ts';

/** What the suite is doing to a process. */
type Doing = 'nothing' | 'stop' | 'kill';

export interface ReplicaOptions {
  readonly cluster: ClusterAccess;
  readonly namespace: string;
  readonly token: string;
  readonly name: string;
  readonly settings: OperatorOptions;
  /** Called with every line that a process prints, and the unique name of the process. */
  readonly onLine: (instance: string, line: string) => void;
  readonly onExit: (instance: string, exit: Exit) => void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly doing: Doing;
}

interface Instance {
  /** The unique name of the process. */
  readonly instance: string;
  readonly operator: Operator;
  doing: Doing;
  frozen: boolean;
}

export interface Footprint {
  /** Bytes. */
  readonly rss: number;
  readonly files: number;
  readonly sockets: number;
}

/** One replica of the operator, behind its own proxy to the API server. `start` replaces a process that has exited. */
export class Replica implements AsyncDisposable {
  readonly name: string;
  readonly proxy: ChaosProxy;
  readonly #options: ReplicaOptions;
  readonly #kubeconfig: string;
  #instances = 0;
  #current: Instance | undefined;

  private constructor(options: ReplicaOptions, proxy: ChaosProxy, kubeconfig: string) {
    this.name = options.name;
    this.#options = options;
    this.proxy = proxy;
    this.#kubeconfig = kubeconfig;
  }

  static async open(options: ReplicaOptions): Promise<Replica> {
    const { cluster, namespace, token, name } = options;
    const proxy = await startChaosProxy({ target: { port: Number(new URL(cluster.server).port) } });
    const kubeconfig = join(cluster.dir, `kubeconfig-${namespace}-${name}`);
    const server = `https://127.0.0.1:${proxy.port}`;
    await writeKubeconfig(kubeconfig, { server, caPem: cluster.caPem, user: { name, token, namespace } });
    return new Replica(options, proxy, kubeconfig);
  }

  get running(): boolean {
    return this.#current !== undefined;
  }

  /** Whether the process of this name is running and not frozen. */
  isAwake(instance: string): boolean {
    return this.#current?.instance === instance && !this.#current.frozen && this.#current.doing === 'nothing';
  }

  async start(): Promise<void> {
    if (this.running) return;
    const { cluster, namespace, token, settings, onLine, onExit } = this.#options;
    this.#instances += 1;
    const instance = `${this.name}${this.#instances}`;
    const options = { ...settings, name: instance, kubeconfig: this.#kubeconfig };
    const operator = await startOperator(cluster, namespace, token, options);
    const current: Instance = { instance, operator, doing: 'nothing', frozen: false };
    this.#current = current;
    const { process: child } = operator;
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream?.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) onLine(instance, line);
      });
    }
    // `close` follows the last line, unlike `exit`.
    child.once('close', (code, signal) => {
      if (this.#current === current) this.#current = undefined;
      onExit(instance, { code, signal, doing: current.doing });
    });
  }

  async kill(): Promise<void> {
    if (this.#current === undefined) return;
    this.#current.doing = 'kill';
    await this.#end(this.#current.operator, () => this.#current?.operator.kill());
  }

  /** Sends SIGTERM. */
  async stop(): Promise<void> {
    if (this.#current === undefined) return;
    this.thaw();
    this.#current.doing = 'stop';
    await this.#end(this.#current.operator, () => this.#current?.operator.stop());
  }

  freeze(): void {
    if (this.#current === undefined) return;
    this.#current.frozen = true;
    this.#current.operator.process.kill('SIGSTOP');
  }

  thaw(): void {
    if (this.#current === undefined) return;
    this.#current.operator.process.kill('SIGCONT');
    this.#current.frozen = false;
  }

  async isReady(): Promise<boolean> {
    try {
      return (await this.#current?.operator.readyz())?.status === 200;
    } catch {
      // The process does not listen yet.
      return false;
    }
  }

  /** The number of active resources by type, from the process's metrics. */
  async resources(): Promise<ReadonlyMap<string, number>> {
    if (this.#current === undefined) return new Map();
    const { text } = await this.#current.operator.ask('/metrics');
    const found = text.matchAll(/^nodejs_active_resources\{type="([^"]+)"\} (\d+)$/gm);
    return new Map([...found].map(([, type = '', count]) => [type, Number(count)]));
  }

  /** The number of metric series; undefined while the process does not answer. */
  async series(): Promise<number | undefined> {
    try {
      const { text } = (await this.#current?.operator.ask('/metrics')) ?? {};
      return text?.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
    } catch {
      return undefined;
    }
  }

  /** Undefined while no process is running. */
  footprint(): Footprint | undefined {
    const pid = this.#current?.operator.process.pid;
    if (pid === undefined) return undefined;
    try {
      const files = readdirSync(`/proc/${pid}/fd`).map((fd) => targetOf(`/proc/${pid}/fd/${fd}`));
      const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      const sockets = files.filter((target) => target.startsWith('socket:')).length;
      return rss === undefined ? undefined : { rss: Number(rss) * 1024, files: files.length, sockets };
    } catch {
      // The process has just exited.
      return undefined;
    }
  }

  async #end(operator: Operator, end: () => Promise<unknown> | undefined): Promise<void> {
    const { process: child } = operator;
    const closed = new Promise((resolve) => child.once('close', resolve));
    if (child.exitCode !== null || child.signalCode !== null) return;
    await end();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.proxy.close();
  }
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    // The file was closed after the folder was read.
    return '';
  }
}
