import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { BreakableProxy, RegistryFault } from './fault-proxy.ts';

/** A proxy on 127.0.0.1 in front of a real ZooKeeper server. It breaks connections on command. */
export class ZooKeeperFaultProxy implements BreakableProxy {
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#handle(socket));
  #fault: RegistryFault | undefined;
  #faultsMet = 0;
  /** By path. */
  readonly #lists = new Map<string, number>();
  #isFrozen = false;
  /** Id and password of the session that was begun last. */
  #session: Buffer | undefined;

  private constructor(target: URL) {
    this.#target = target;
  }

  static async start(target: URL): Promise<ZooKeeperFaultProxy> {
    const proxy = new ZooKeeperFaultProxy(target);
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  /** `host:port`. */
  get url(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get faultsMet(): number {
    return this.#faultsMet;
  }

  /** Connections to the server. */
  get underWay(): number {
    return this.#fault === undefined ? this.#sockets.size / 2 : 0;
  }

  get mostUnderWay(): number {
    return this.#sockets.size / 2;
  }

  /** How often lists were read whose path contains `part`. Only a list may be large: its entries are read one by one. */
  requestsFor(part: string): number {
    return [...this.#lists].reduce((sum, [path, count]) => sum + (path.includes(part) ? count : 0), 0);
  }

  fail(fault: RegistryFault): Disposable {
    this.#fault = fault;
    this.cut();
    const repair = () => {
      this.#fault = undefined;
      this.cut();
    };
    return { [Symbol.dispose]: repair };
  }

  lag(): Disposable {
    throw new Error('an older state of ZooKeeper cannot be shown');
  }

  /** Ends the session that was begun last, as its own client would. */
  async expireSession(): Promise<void> {
    const session = this.#session;
    if (session === undefined) throw new Error('no session was begun');
    const socket = connect(Number(this.#target.port), this.#target.hostname);
    const begin = Buffer.alloc(16);
    begin.writeInt32BE(4000, 12);
    const password = Buffer.concat([Buffer.from([0, 0, 0, 16]), session.subarray(8), Buffer.from([0])]);
    const body = Buffer.concat([begin, session.subarray(0, 8), password]);
    socket.write(messageOf(body.length, body));
    await once(socket, 'data');
    const close = Buffer.alloc(8);
    close.writeInt32BE(1);
    close.writeInt32BE(-11, 4);
    socket.write(messageOf(close.length, close));
    socket.resume();
    await once(socket, 'close');
  }

  /** Connections stay open, and nothing passes until it is disposed. */
  freeze(): Disposable {
    this.#isFrozen = true;
    for (const socket of this.#sockets) socket.pause();
    const thaw = () => {
      this.#isFrozen = false;
      for (const socket of this.#sockets) socket.resume();
    };
    return { [Symbol.dispose]: thaw };
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #handle(client: Socket): void {
    this.#own(client);
    if (this.#fault === undefined) {
      this.#forward(client, (chunk, to) => to.write(chunk));
      return;
    }
    this.#faultsMet += 1;
    this.#misbehave(this.#fault, client);
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  /** `pass` receives what the server sends. */
  #forward(client: Socket, pass: (chunk: Buffer, to: Socket) => void): void {
    const server = connect(Number(this.#target.port), this.#target.hostname);
    this.#own(server);
    // Length, version of the protocol, timeout, id, length of the password, password.
    server.once('data', (chunk: Buffer) => {
      if (chunk.length >= 40) this.#session = Buffer.concat([chunk.subarray(12, 20), chunk.subarray(24, 40)]);
    });
    server.on('data', (chunk: Buffer) => pass(chunk, client));
    const count = listsOf((path) => this.#lists.set(path, (this.#lists.get(path) ?? 0) + 1));
    client.on('data', (chunk: Buffer) => {
      count(chunk);
      server.write(chunk);
    });
    server.on('close', () => client.destroy());
    client.on('close', () => server.destroy());
    if (!this.#isFrozen) return;
    server.pause();
    client.pause();
  }

  #misbehave(fault: RegistryFault, client: Socket): void {
    switch (fault) {
      case 'closes every connection':
        client.destroy();
        return;
      case 'truncates its answers':
        this.#forward(client, (chunk, to) => {
          to.write(chunk.subarray(0, chunk.length / 2));
          setTimeout(() => to.destroy(), 5);
        });
        return;
      case 'answers with a web page':
        client.end('HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html><body>Sign in</body></html>');
        return;
      case 'sends bytes that are not UTF-8':
        client.write(Buffer.from('\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe', 'latin1'));
        return;
      case 'announces more than the limit':
        client.write(messageOf(2 ** 30, Buffer.alloc(16)));
        return;
      case 'sends more than the limit':
        begin(client, (number) => {
          client.write(messageOf(200 * 1024 * 1024, replyOf(number, 0)));
          sendForever(client);
        });
        return;
      case 'sends JSON of another shape':
        begin(client, (number) => client.write(messageOf(16, replyOf(number + 1000, 0))));
        return;
      case 'answers 500':
        begin(client, (number) => client.write(messageOf(16, replyOf(number, SYSTEM_ERROR))));
        return;
      case 'sends only headers':
        begin(client, () => undefined);
        return;
      case 'does not answer':
        return;
      default:
        fault satisfies never;
    }
  }
}

const SYSTEM_ERROR = -1;

/** Accepts the session, and then calls `answer` with the number of each request. */
function begin(client: Socket, answer: (number: number) => void): void {
  let isBegun = false;
  client.on('data', (chunk: Buffer) => {
    if (!isBegun) {
      isBegun = true;
      const session = Buffer.alloc(37);
      session.writeInt32BE(4000, 4);
      session.writeInt32BE(16, 16);
      client.write(messageOf(session.length, session));
      return;
    }
    const number = chunk.readInt32BE(4);
    // A request without credentials is the first one; another one comes after the reply to the credentials.
    if (number === -4) client.write(messageOf(16, replyOf(number, 0)));
    else answer(number);
  });
}

function messageOf(length: number, body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(length);
  return Buffer.concat([head, body]);
}

function replyOf(number: number, failure: number): Buffer {
  const reply = Buffer.alloc(16);
  reply.writeInt32BE(number);
  reply.writeInt32BE(failure, 12);
  return reply;
}

const GET_CHILDREN = 12;

/** Finds the paths of the lists that a client asks for. */
function listsOf(found: (path: string) => void): (chunk: Buffer) => void {
  let left = Buffer.alloc(0);
  return (chunk) => {
    left = Buffer.concat([left, chunk]);
    while (left.length >= 4 && left.length >= 4 + left.readInt32BE()) {
      const message = left.subarray(4, 4 + left.readInt32BE());
      left = left.subarray(4 + message.length);
      // Number of the request, operation, length of the path, path.
      if (message.length < 12 || message.readInt32BE(4) !== GET_CHILDREN) continue;
      found(message.toString('utf8', 12, 12 + message.readInt32BE(8)));
    }
  };
}

const MIB = Buffer.alloc(1024 * 1024);

function sendForever(client: Socket): void {
  const send = () => {
    while (!client.destroyed && client.write(MIB));
  };
  client.on('drain', send);
  send();
}
