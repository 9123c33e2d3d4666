import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Component, createComponent } from '../control-plane/component.ts';
import { freePorts } from '../control-plane/free-ports.ts';
import { startWatchdog, type Watchdog } from '../control-plane/start-watchdog.ts';
import { ensureJavaServer } from './java-server.ts';
import { type ZooKeeperUser, ZooKeeperWriter } from './zookeeper-client.ts';

export const ZOOKEEPER_READER: ZooKeeperUser = { username: 'reader', password: 'password-of-the-suite' };
/** ZooKeeper accepts every user. It may read nothing. */
export const ZOOKEEPER_STRANGER: ZooKeeperUser = {
  username: 'stranger',
  password: 'password-of-the-stranger',
};
const WRITER: ZooKeeperUser = { username: 'writer', password: 'password-of-the-writer' };

const HEAP = ['-Xms32m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
/** A session lives for 20 ticks at most. */
const TICK_MS = 200;

/** Builds the server, and zkCli. Resolves to the folder of their libraries. */
export async function ensureZooKeeper(): Promise<string> {
  const folder = fileURLToPath(new URL('../../registries/zookeeper/', import.meta.url));
  return join(await ensureJavaServer({ folder, name: 'zookeeper', what: 'ZooKeeper' }), 'lib');
}

export interface ZooKeeperMember {
  readonly id: number;
  readonly clientPort: number;
  /** Of every member of the ensemble, in order: `server.1=...`. Empty: the server is alone. */
  readonly ensemble: readonly string[];
}

/** A real ZooKeeper server on loopback. Its nodes are readable for `ZOOKEEPER_READER` only. */
export class ZooKeeperServer implements AsyncDisposable {
  readonly url: URL;
  readonly #dir: string;
  readonly #component: Component;
  readonly #watchdog: Watchdog;
  #writer: ZooKeeperWriter | undefined;

  private constructor(url: URL, dir: string, component: Component, watchdog: Watchdog) {
    this.url = url;
    this.#dir = dir;
    this.#component = component;
    this.#watchdog = watchdog;
  }

  static async start(): Promise<ZooKeeperServer> {
    const [clientPort = 0] = await freePorts(1);
    const server = await ZooKeeperServer.create({ id: 1, clientPort, ensemble: [] });
    try {
      await server.start();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** A server that does not run yet. */
  static async create({ id, clientPort, ensemble }: ZooKeeperMember): Promise<ZooKeeperServer> {
    const lib = await ensureZooKeeper();
    const dir = await mkdtemp(join(tmpdir(), 'gwu-zookeeper-'));
    const watchdog = startWatchdog(dir);
    const config = {
      tickTime: TICK_MS,
      initLimit: 25,
      syncLimit: 5,
      dataDir: join(dir, 'data'),
      // The entries of an ensemble have the ports for clients.
      ...(ensemble.length === 0 ? { clientPort, clientPortAddress: '127.0.0.1' } : {}),
      'admin.enableServer': false,
      '4lw.commands.whitelist': 'srvr',
      maxClientCnxns: 0,
    };
    const lines = Object.entries(config).map(([name, value]) => `${name}=${value}`);
    await mkdir(join(dir, 'data'));
    await writeFile(join(dir, 'data/myid'), `${id}`);
    await writeFile(join(dir, 'zoo.cfg'), [...lines, ...ensemble, ''].join('\n'));
    const main = ensemble.length === 0 ? 'server.ZooKeeperServerMain' : 'server.quorum.QuorumPeerMain';
    const component = createComponent({
      name: 'zookeeper',
      command: '/usr/bin/java',
      args: [
        ...HEAP,
        // Transactions with thousands of nodes.
        '-Djute.maxbuffer=16777216',
        ...['-cp', join(lib, '*'), `org.apache.zookeeper.${main}`, join(dir, 'zoo.cfg')],
      ],
      dir,
      started: watchdog.register,
      createProbe: () => async () => (await command(clientPort, 'srvr')).includes('Mode:'),
    });
    return new ZooKeeperServer(new URL(`zookeeper://127.0.0.1:${clientPort}`), dir, component, watchdog);
  }

  /** `host:port`. */
  get address(): string {
    return this.url.host;
  }

  get writer(): ZooKeeperWriter {
    if (this.#writer === undefined) throw new Error('the server does not run');
    return this.#writer;
  }

  /** What `srvr` says: `leader`, `follower` or `standalone`. */
  async mode(): Promise<string | undefined> {
    return /^Mode: (\w+)$/m.exec(await command(Number(this.url.port), 'srvr'))?.[1];
  }

  /** Ends the server. It loses its data. */
  async kill(): Promise<void> {
    this.#writer?.[Symbol.dispose]();
    this.#writer = undefined;
    await this.#component.kill();
    await rm(join(this.#dir, 'data/version-2'), { recursive: true, force: true });
  }

  async start(): Promise<void> {
    await this.#component.start();
    await this.connect();
  }

  async connect(): Promise<void> {
    const writer = new ZooKeeperWriter(this.address, WRITER, [ZOOKEEPER_READER]);
    await writer.connect();
    this.#writer = writer;
  }

  signal(signal: NodeJS.Signals): void {
    this.#component.signal(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#writer?.[Symbol.dispose]();
    await this.#component.kill();
    await this.#watchdog.end();
  }
}

/** Sends one of ZooKeeper's commands of four letters. */
async function command(port: number, letters: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  // While it starts, a server may accept a connection and forget it.
  socket.setTimeout(1000, () => socket.destroy(new Error(`no answer to ${letters}`)));
  socket.write(letters);
  let text = '';
  for await (const chunk of socket) text += `${chunk}`;
  return text;
}

/** What Curator and Spring Cloud store for one instance. */
export function curatorData(
  service: string,
  { address, port = 8080, status = 'UP', metadata = {} }: CuratorRegistration,
): string {
  return JSON.stringify({
    name: service,
    id: `${address}:${port}`,
    address,
    port,
    sslPort: null,
    payload: {
      '@class': 'org.springframework.cloud.zookeeper.discovery.ZookeeperInstance',
      id: service,
      name: service,
      metadata: { instance_status: status, ...metadata },
    },
    registrationTimeUTC: 1_795_472_251_495,
    serviceType: 'DYNAMIC',
    uriSpec: null,
  });
}

export interface CuratorRegistration {
  readonly address: string;
  readonly port?: number;
  readonly status?: 'UP' | 'DOWN' | 'OUT_OF_SERVICE';
  readonly metadata?: Readonly<Record<string, string>>;
}
