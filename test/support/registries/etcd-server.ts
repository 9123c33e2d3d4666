import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { ensureBinaries } from '../control-plane/binaries.ts';
import { type Component, createComponent } from '../control-plane/component.ts';
import { freePorts } from '../control-plane/free-ports.ts';
import { startWatchdog, type Watchdog } from '../control-plane/start-watchdog.ts';

/** May do everything. */
export const ETCD_ROOT = { name: 'root', password: 'root-password-of-the-suite' } as const;
/** May read everything. */
export const ETCD_READER = { username: 'reader', password: 'password-of-the-suite' } as const;
/** Is known and may read nothing. */
export const ETCD_STRANGER = { username: 'stranger', password: 'another-password-of-the-suite' } as const;

const CONCURRENT_REQUESTS = 32;
/** Of one transaction. The suites register up to 10,000 instances at once; the defaults are 128 and 1.5 MiB. */
const MAX_OPERATIONS = 20_000;
const MAX_REQUEST_BYTES = 16 * 1024 * 1024;

export interface EtcdServerOptions {
  /** Default: 1. */
  readonly members?: number;
  /** How long a token is valid after its last use, in seconds. Default: 300. */
  readonly tokenTtlSeconds?: number;
  /** Without users, everyone may do everything. Default: true. */
  readonly users?: boolean;
}

/** A member and where its data is. */
interface Member {
  readonly url: URL;
  readonly component: Component;
  readonly data: string;
}

/** A real etcd cluster on loopback that requires a user. */
export class EtcdServer implements AsyncDisposable {
  readonly #members: readonly Member[];
  readonly #watchdog: Watchdog;
  readonly #dir: string;
  readonly #hasUsers: boolean;
  readonly #requests = new PQueue({ concurrency: CONCURRENT_REQUESTS });
  #token: Promise<string> | undefined;
  #backups = 0;

  private constructor(members: readonly Member[], watchdog: Watchdog, dir: string, hasUsers: boolean) {
    this.#members = members;
    this.#watchdog = watchdog;
    this.#dir = dir;
    this.#hasUsers = hasUsers;
  }

  static async start({
    members: count = 1,
    tokenTtlSeconds = 300,
    users = true,
  }: EtcdServerOptions = {}): Promise<EtcdServer> {
    const { etcd: command } = await ensureBinaries({
      env: process.env,
      report: (line) => process.stderr.write(`${line}\n`),
    });
    const dir = await mkdtemp(join(tmpdir(), 'gwu-etcd-'));
    const watchdog = startWatchdog(dir);
    const ports = await freePorts(2 * count);
    const places = Array.from({ length: count }, (_, index) => ({
      name: `member-${index}`,
      url: `http://127.0.0.1:${ports[2 * index]}`,
      peerUrl: `http://127.0.0.1:${ports[2 * index + 1]}`,
    }));
    const cluster = places.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
    const members = places.map(({ name, url, peerUrl }): Member => {
      const data = join(dir, `${name}-data`);
      const args = [
        `--name=${name}`,
        `--data-dir=${data}`,
        `--listen-client-urls=${url}`,
        `--advertise-client-urls=${url}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=${cluster}`,
        `--auth-token-ttl=${tokenTtlSeconds}`,
        '--unsafe-no-fsync',
        `--max-txn-ops=${MAX_OPERATIONS}`,
        `--max-request-bytes=${MAX_REQUEST_BYTES}`,
        // Hashing a password takes 50 ms by default.
        '--bcrypt-cost=4',
      ];
      const createProbe = () => async () => (await fetch(new URL('/health', url))).ok;
      const started = watchdog.register;
      const component = createComponent({ name, command, args, dir, started, createProbe });
      return { url: new URL(url), component, data };
    });
    const server = new EtcdServer(members, watchdog, dir, users);
    try {
      await server.start();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Of the first member. */
  get url(): URL {
    return this.member(0).url;
  }

  get urls(): readonly URL[] {
    return this.#members.map(({ url }) => url);
  }

  member(index: number): Member {
    const member = this.#members[index];
    if (member === undefined) throw new Error(`etcd has no member ${index}`);
    return member;
  }

  /** Starts all members. After `kill`, they have no data. */
  async start(): Promise<void> {
    await Promise.all(this.#members.map(({ component }) => component.start()));
    this.#token = undefined;
    if (this.#hasUsers) await this.#enableUsers();
  }

  /** Ends all members and deletes their data. */
  async kill(): Promise<void> {
    await Promise.all(this.#members.map(({ component }) => component.kill()));
    for (const { data } of this.#members) await rm(data, { recursive: true, force: true });
  }

  /** Copies the data of the only member. The returned function puts it back: the cluster has the same id, and an older revision. */
  async backup(): Promise<() => Promise<void>> {
    const { component, data } = this.member(0);
    this.#backups += 1;
    const copy = join(this.#dir, `backup-${this.#backups}`);
    await component.stop();
    await cp(data, copy, { recursive: true });
    await component.start();
    return async () => {
      await component.kill();
      await rm(data, { recursive: true });
      await cp(copy, data, { recursive: true });
      await component.start();
    };
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

  async put(key: string, value: string, fields: object = {}): Promise<void> {
    await this.request('/v3/kv/put', { key: base64(key), value: base64(value), ...fields });
  }

  /** Sends a request as root to the first member. */
  request(path: string, body: object): Promise<unknown> {
    return this.#requests.add(async () => {
      for (let attempt = 1; ; attempt += 1) {
        const token = this.#token;
        const response = await this.#send(path, body, await token);
        const text = await response.text();
        if (response.ok) return JSON.parse(text);
        // etcd rejects tokens that it issued before it restarted, or before users or roles changed.
        const isOldToken = response.status === 401 || text.includes('revision of auth store is old');
        if (token === undefined || !isOldToken || attempt > 5) {
          throw new Error(`etcd answered ${response.status} to ${path}: ${text}`);
        }
        if (this.#token === token) this.#token = this.#logIn();
      }
    });
  }

  /** A user who may read everything, or nothing. */
  async addUser(
    { username: name, password }: { readonly username: string; readonly password: string },
    mayRead: boolean,
  ): Promise<void> {
    await this.request('/v3/auth/user/add', { name, password });
    if (mayRead) await this.request('/v3/auth/user/grant', { user: name, role: 'reader' });
  }

  async removeUser(username: string): Promise<void> {
    await this.request('/v3/auth/user/delete', { name: username });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map(({ component }) => component.kill()));
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
      ETCD_ROOT,
      ...[ETCD_READER, ETCD_STRANGER].map(({ username: name, password }) => ({ name, password })),
    ];
    for (const user of users) await this.request('/v3/auth/user/add', user);
    for (const name of ['root', 'reader']) {
      await this.request('/v3/auth/user/grant', { user: name, role: name });
    }
    await this.request('/v3/auth/enable', {});
    this.#token = this.#logIn();
  }

  async #logIn(): Promise<string> {
    const response = await this.#send('/v3/auth/authenticate', ETCD_ROOT, undefined);
    if (!response.ok) throw new Error(`etcd answered ${response.status} to the login of root`);
    return ((await response.json()) as { readonly token: string }).token;
  }

  #send(path: string, body: object, token: string | undefined): Promise<Response> {
    return fetch(new URL(path, this.url), {
      method: 'POST',
      headers: token === undefined ? {} : { authorization: token },
      body: JSON.stringify(body),
    });
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
