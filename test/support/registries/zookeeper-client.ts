import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { ACL, type Client, createClient, Id, Permission } from 'node-zookeeper-client';

const CONNECT_WITHIN_MS = 20_000;

export interface ZooKeeperUser {
  readonly username: string;
  readonly password: string;
}

/**
 * A client of ZooKeeper that shares no code with the operator. It writes what instances write. Call `connect` first.
 */
export class ZooKeeperWriter implements Disposable {
  readonly #server: string;
  readonly #writer: ZooKeeperUser;
  readonly #acl: readonly ACL[];
  #client: Client | undefined;

  /** Nodes are created for `writer`, and `readers` may read them. */
  constructor(server: string, writer: ZooKeeperUser, readers: readonly ZooKeeperUser[]) {
    this.#server = server;
    this.#writer = writer;
    this.#acl = [
      new ACL(Permission.ALL, new Id('digest', digestOf(writer))),
      ...readers.map((reader) => new ACL(Permission.READ, new Id('digest', digestOf(reader)))),
    ];
  }

  async connect(): Promise<void> {
    const client = createClient(this.#server, { sessionTimeout: 10_000, spinDelay: 20, retries: 3 });
    const { username, password } = this.#writer;
    client.addAuthInfo('digest', Buffer.from(`${username}:${password}`));
    client.connect();
    await once(client, 'connected', { signal: AbortSignal.timeout(CONNECT_WITHIN_MS) });
    this.#client = client;
  }

  [Symbol.dispose](): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /** Creates missing nodes. */
  async ensure(path: string): Promise<void> {
    let parent = '';
    for (const part of path.split('/').slice(1)) {
      parent += `/${part}`;
      await this.#create(parent, Buffer.alloc(0));
    }
  }

  /** Makes `entries` the only nodes below `path`, in one transaction. By name. */
  async replace(path: string, entries: ReadonlyMap<string, string>): Promise<void> {
    await this.ensure(path);
    const before = new Set(await this.children(path));
    const transaction = this.#connected.transaction();
    for (const name of before) if (!entries.has(name)) transaction.remove(`${path}/${name}`);
    for (const [name, data] of entries) {
      if (before.has(name)) transaction.setData(`${path}/${name}`, Buffer.from(data));
      else transaction.create(`${path}/${name}`, Buffer.from(data), [...this.#acl]);
    }
    if (before.size + entries.size === 0) return;
    await promisify<unknown>((done) => transaction.commit(done))();
  }

  async set(path: string, data: string): Promise<void> {
    const client = this.#connected;
    await promisify<unknown>((done) => client.setData(path, Buffer.from(data), done))();
  }

  async remove(path: string): Promise<void> {
    const client = this.#connected;
    await promisify((done: (error: unknown) => void) => client.remove(path, done))();
  }

  async children(path: string): Promise<readonly string[]> {
    const client = this.#connected;
    return await promisify<readonly string[]>((done) => client.getChildren(path, done))();
  }

  async data(path: string): Promise<string> {
    const client = this.#connected;
    return `${await promisify<Buffer>((done) => client.getData(path, done))()}`;
  }

  async #create(path: string, data: Buffer): Promise<void> {
    const client = this.#connected;
    const created = promisify<unknown>((done) => client.create(path, data, [...this.#acl], done));
    await created().catch((error: unknown) => {
      if ((error as { readonly name?: string }).name !== 'NODE_EXISTS') throw error;
    });
  }

  get #connected(): Client {
    if (this.#client === undefined) throw new Error('the client is not connected');
    return this.#client;
  }
}

function digestOf({ username, password }: ZooKeeperUser): string {
  const hash = createHash('sha1').update(`${username}:${password}`).digest('base64');
  return `${username}:${hash}`;
}
