import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { ensureBinaries } from '../control-plane/binaries.ts';
import { type Component, createComponent } from '../control-plane/component.ts';
import { freePorts } from '../control-plane/free-ports.ts';
import { startWatchdog, type Watchdog } from '../control-plane/start-watchdog.ts';

/** May do everything. */
const ROOT = { name: 'root', password: 'root-password-of-the-suite' } as const;
/** May read everything. */
export const ETCD_READER = { username: 'reader', password: 'password-of-the-suite' } as const;
/** Is known and may read nothing. */
export const ETCD_STRANGER = { username: 'stranger', password: 'another-password-of-the-suite' } as const;

const CONCURRENT_REQUESTS = 32;
/** Of one transaction. The contract suite registers 500 instances at once; the default is 128. */
const MAX_OPERATIONS = 2_000;

/** A real etcd member on loopback that requires a user. */
export class EtcdServer implements AsyncDisposable {
  readonly url: URL;
  readonly #component: Component;
  readonly #watchdog: Watchdog;
  readonly #requests = new PQueue({ concurrency: CONCURRENT_REQUESTS });
  #token: string | undefined;

  private constructor(url: URL, component: Component, watchdog: Watchdog) {
    this.url = url;
    this.#component = component;
    this.#watchdog = watchdog;
  }

  static async start(): Promise<EtcdServer> {
    const { etcd } = await ensureBinaries({
      env: process.env,
      report: (line) => process.stderr.write(`${line}\n`),
    });
    const dir = await mkdtemp(join(tmpdir(), 'gwu-etcd-'));
    const watchdog = startWatchdog(dir);
    const [port = 0, peerPort = 0] = await freePorts(2);
    const url = new URL(`http://127.0.0.1:${port}`);
    const peerUrl = `http://127.0.0.1:${peerPort}`;
    const component = createComponent({
      name: 'etcd',
      command: etcd,
      args: [
        '--name=suite',
        `--data-dir=${join(dir, 'data')}`,
        `--listen-client-urls=${url.origin}`,
        `--advertise-client-urls=${url.origin}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=suite=${peerUrl}`,
        '--unsafe-no-fsync',
        `--max-txn-ops=${MAX_OPERATIONS}`,
        // Hashing a password takes 50 ms by default.
        '--bcrypt-cost=4',
      ],
      dir,
      started: watchdog.register,
      createProbe: () => async () => (await fetch(new URL('/health', url))).ok,
    });
    const server = new EtcdServer(url, component, watchdog);
    try {
      await component.start();
      await server.#enableUsers();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Makes `entries` the only keys that begin with `prefix`, in one transaction. */
  async replace(prefix: string, entries: ReadonlyMap<string, string>): Promise<void> {
    const end = `${prefix.slice(0, -1)}0`;
    const { kvs = [] } = (await this.request('/v3/kv/range', {
      key: base64(prefix),
      range_end: base64(end),
      keys_only: true,
    })) as { readonly kvs?: readonly { readonly key: string }[] };
    const wanted = new Set([...entries.keys()].map(base64));
    await this.request('/v3/kv/txn', {
      success: [
        ...kvs.filter(({ key }) => !wanted.has(key)).map(({ key }) => ({ request_delete_range: { key } })),
        ...[...entries].map(([key, value]) => ({
          request_put: { key: base64(key), value: base64(value) },
        })),
      ],
    });
  }

  async put(key: string, value: string): Promise<void> {
    await this.request('/v3/kv/put', { key: base64(key), value: base64(value) });
  }

  /** Sends a request as root. */
  request(path: string, body: object): Promise<unknown> {
    return this.#requests.add(async () => {
      const response = await fetch(new URL(path, this.url), {
        method: 'POST',
        headers: this.#token === undefined ? {} : { authorization: this.#token },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`etcd answered ${response.status} to ${path}: ${text}`);
      return JSON.parse(text);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#component.kill();
    await this.#watchdog.end();
  }

  async #enableUsers(): Promise<void> {
    for (const role of ['root', 'reader']) await this.request('/v3/auth/role/add', { name: role });
    await this.request('/v3/auth/role/grant', {
      name: 'reader',
      // From the first key to the last one.
      perm: { permType: 'READ', key: base64('\0'), range_end: base64('\0') },
    });
    const users = [
      ROOT,
      ...[ETCD_READER, ETCD_STRANGER].map(({ username: name, password }) => ({ name, password })),
    ];
    for (const user of users) await this.request('/v3/auth/user/add', user);
    for (const name of ['root', 'reader']) {
      await this.request('/v3/auth/user/grant', { user: name, role: name });
    }
    await this.request('/v3/auth/enable', {});
    const { token } = (await this.request('/v3/auth/authenticate', ROOT)) as { readonly token: string };
    this.#token = token;
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
