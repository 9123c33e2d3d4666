import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { forward } from './forward.ts';

/** What keeps a registry from answering completely. */
export type RegistryFault =
  | 'closes every connection'
  | 'answers 500'
  | 'answers with a web page'
  | 'truncates its answers'
  | 'sends bytes that are not UTF-8'
  | 'sends JSON of another shape'
  | 'announces more than the limit'
  | 'sends more than the limit'
  | 'does not answer'
  | 'sends only headers';

/** How a server answers that has not received the latest changes. */
export interface Lag {
  /** The answer that the server had before the changes. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Whether the request asks the server for what the other servers know. */
  readonly isForwarded: (url: URL) => boolean;
}

/** A proxy in front of a registry that breaks on command. */
export interface BreakableProxy extends AsyncDisposable {
  /** As the section of the registry lists it in `servers`. */
  readonly url: string;
  /** How many requests met a fault so far. */
  readonly faultsMet: number;
  /** How many requests are under way now. */
  readonly underWay: number;
  /** The most requests that were under way at the same time so far. */
  readonly mostUnderWay: number;
  /** How many requests came so far that contain `part`. */
  requestsFor(part: string): number;
  /** Ends requests that are under way. Every request meets the fault until it is disposed. */
  fail(fault: RegistryFault): Disposable;
  /** Answers what the server knew before the latest changes, until it is disposed. */
  lag(lag: Lag): Disposable;
}

/** An HTTP proxy on 127.0.0.1 in front of a real registry. It counts requests and breaks them on command. */
export class FaultProxy implements BreakableProxy {
  readonly #target: URL;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #sockets = new Set<Socket>();
  readonly #requests = new Map<string, number>();
  readonly #server = createServer((incoming, response) => this.#handle(incoming, response));
  #fault: RegistryFault | undefined;
  #lag: Lag | undefined;
  #faultsMet = 0;
  #underWay = 0;
  #mostUnderWay = 0;

  private constructor(target: URL) {
    this.#target = target;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(target: URL): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many requests met a fault so far. */
  get faultsMet(): number {
    return this.#faultsMet;
  }

  /** How many requests are under way now. */
  get underWay(): number {
    return this.#underWay;
  }

  /** The most requests that were under way at the same time so far. */
  get mostUnderWay(): number {
    return this.#mostUnderWay;
  }

  /** How many requests came so far whose path and query contain `part`. */
  requestsFor(part: string): number {
    return [...this.#requests].reduce((sum, [path, count]) => sum + (path.includes(part) ? count : 0), 0);
  }

  /** Ends requests that are under way. Every request meets the fault until it is disposed. */
  fail(fault: RegistryFault): Disposable {
    this.#fault = fault;
    this.cut();
    const repair = () => {
      this.#fault = undefined;
      this.cut();
    };
    return { [Symbol.dispose]: repair };
  }

  /** Answers what the server knew before the latest changes, until it is disposed. */
  lag(lag: Lag): Disposable {
    this.#lag = lag;
    const catchUp = () => {
      this.#lag = undefined;
      this.cut();
    };
    return { [Symbol.dispose]: catchUp };
  }

  /** Closes every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#agent.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #handle(incoming: IncomingMessage, response: ServerResponse): void {
    const url = new URL(incoming.url ?? '/', this.#target);
    const path = url.pathname + url.search;
    this.#requests.set(path, (this.#requests.get(path) ?? 0) + 1);
    this.#underWay += 1;
    this.#mostUnderWay = Math.max(this.#mostUnderWay, this.#underWay);
    response.once('close', () => {
      this.#underWay -= 1;
    });
    if (this.#fault !== undefined) {
      this.#faultsMet += 1;
      misbehave(this.#fault, incoming.socket, response);
    } else if (this.#lag !== undefined && !this.#lag.isForwarded(url)) {
      this.#faultsMet += 1;
      response.writeHead(200, this.#lag.headers).end(this.#lag.text);
    } else forward(incoming, response, this.#target, this.#agent);
  }
}

/** An answer that Consul could give: its headers are those of a complete one. */
const HEADERS = { 'content-type': 'application/json', 'x-consul-index': '7000000' };

function misbehave(fault: RegistryFault, socket: Socket, response: ServerResponse): void {
  switch (fault) {
    case 'closes every connection':
      socket.destroy();
      return;
    case 'answers 500':
      response.writeHead(500).end('No cluster leader');
      return;
    case 'answers with a web page':
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html><body>Sign in</body></html>');
      return;
    case 'truncates its answers':
      response.writeHead(200, { ...HEADERS, 'content-length': '1000' });
      response.write('[');
      setTimeout(() => socket.destroy(), 5);
      return;
    case 'sends bytes that are not UTF-8':
      response.writeHead(200, HEADERS).end(Buffer.from('[{"Node":{"Node":"\xff\xfe"}}]', 'latin1'));
      return;
    case 'sends JSON of another shape':
      response.writeHead(200, HEADERS).end('[{"unexpected": true}]');
      return;
    case 'announces more than the limit':
      response.writeHead(200, { ...HEADERS, 'content-length': `${2 ** 40}` });
      response.write('[');
      return;
    case 'sends more than the limit':
      response.writeHead(200, HEADERS);
      sendForever(response);
      return;
    case 'does not answer':
      return;
    case 'sends only headers':
      response.writeHead(200, HEADERS);
      response.flushHeaders();
      return;
    default:
      fault satisfies never;
  }
}

const MIB_OF_SPACES = Buffer.alloc(1024 * 1024, ' ');

/** JSON allows any amount of space between two items. */
function sendForever(response: ServerResponse): void {
  response.write('[');
  const send = () => {
    while (!response.destroyed && response.write(MIB_OF_SPACES));
  };
  response.on('drain', send);
  send();
}
