import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface ToyInstance {
  readonly address: string;
  readonly port: number;
  readonly state: 'up' | 'down' | 'leaving';
}

/** A fault of the registry. */
export type ToyFault = 'refuses' | 'fails' | 'truncates' | 'hangs' | 'lies';

/** A service registry over HTTP: `GET /services/<name>` with a token answers `{"instances": [...]}`, or 404. */
export class ToyRegistry implements AsyncDisposable {
  /** The only valid token. */
  token: string;
  readonly #services = new Map<string, readonly ToyInstance[]>();
  readonly #requests = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => this.#answer(request, response));
  #fault: ToyFault | undefined;
  #faultsMet = 0;
  #refused = 0;

  private constructor(token: string) {
    this.token = token;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(token: string): Promise<ToyRegistry> {
    const registry = new ToyRegistry(token);
    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    return registry;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The number of requests that met a fault. */
  get faultsMet(): number {
    return this.#faultsMet;
  }

  /** The number of requests with an invalid token. */
  get refused(): number {
    return this.#refused;
  }

  register(service: string, instances: readonly ToyInstance[]): void {
    this.#services.set(service, instances);
  }

  remove(service: string): void {
    this.#services.delete(service);
  }

  requestsFor(service: string): number {
    return this.#requests.get(service) ?? 0;
  }

  /** Applies the fault to every request until it is disposed. */
  fail(fault: ToyFault): Disposable {
    this.#fault = fault;
    if (fault === 'refuses') for (const socket of this.#sockets) socket.destroy();
    const repair = () => {
      this.#fault = undefined;
      for (const socket of this.#sockets) socket.destroy();
    };
    return { [Symbol.dispose]: repair };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer({ url = '', headers, socket }: IncomingMessage, response: ServerResponse): void {
    const service = decodeURIComponent(url.slice('/services/'.length));
    this.#requests.set(service, this.requestsFor(service) + 1);
    if (this.#fault !== undefined) {
      this.#faultsMet += 1;
      this.#misbehave(this.#fault, socket, response);
      return;
    }
    if (headers.authorization !== `Bearer ${this.token}`) {
      this.#refused += 1;
      response.writeHead(401).end('{"error": "bad token"}');
      return;
    }
    const instances = this.#services.get(service);
    if (instances === undefined) response.writeHead(404).end('{"error": "no such service"}');
    else response.writeHead(200).end(JSON.stringify({ instances, count: instances.length }));
  }

  #misbehave(fault: ToyFault, socket: Socket, response: ServerResponse): void {
    switch (fault) {
      case 'refuses':
        socket.destroy();
        return;
      case 'fails':
        response.writeHead(500).end('{"error": "out of order"}');
        return;
      case 'truncates':
        response.writeHead(200).end('{"instances": [');
        return;
      case 'hangs':
        return;
      case 'lies':
        // Fewer instances than the declared number.
        response.writeHead(200).end('{"instances": [], "count": 3}');
        return;
      default:
        fault satisfies never;
    }
  }
}
