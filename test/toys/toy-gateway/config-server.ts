import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';

type Json = Readonly<Record<string, unknown>>;

/** A resource that data planes fetch. It can be replaced and emptied, but not deleted. */
export interface ToyResource {
  readonly revision: number;
  /** Seconds since 1970. */
  readonly created: number;
  readonly body: Json;
}

/** The last report of one data plane. */
export interface ToyReport {
  /** The active revision by id. */
  readonly applied: Readonly<Record<string, number>>;
  /** The rejected revision by id, with the reason. */
  readonly rejected: Readonly<Record<string, { readonly revision: number; readonly why: string }>>;
}

/** A data plane without a report for this long counts as disconnected. */
const PLANE_GONE_MS = 1000;

/**
 * The configuration server of a gateway whose data planes fetch their configuration over HTTP with a token. It also stores
 * records, which data planes do not receive.
 */
export class ToyConfigServer implements AsyncDisposable {
  /** The only valid token. */
  token: string;
  readonly #resources = new Map<string, ToyResource>();
  readonly #records = new Map<string, Json>();
  readonly #routes = new Map<string, string>();
  readonly #planes = new Map<string, { readonly at: number; readonly report: ToyReport }>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  #revision = 0;

  private constructor(token: string) {
    this.token = token;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(token: string): Promise<ToyConfigServer> {
    const server = new ToyConfigServer(token);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  resource(id: string): ToyResource | undefined {
    return this.#resources.get(id);
  }

  record(id: string): Json | undefined {
    return this.#records.get(id);
  }

  /** Replaces a resource as another client would. */
  replace(id: string, body: Json): ToyResource {
    this.#revision += 1;
    const created = this.#resources.get(id)?.created ?? Math.floor(Date.now() / 1000);
    const resource = { revision: this.#revision, created, body };
    this.#resources.set(id, resource);
    return resource;
  }

  /** Adds a route to a resource until the result is disposed. */
  route(name: string, id: string): Disposable {
    this.#routes.set(name, id);
    return { [Symbol.dispose]: () => void this.#routes.delete(name) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await text(request);
      const [status, answer] =
        request.headers.authorization === `Bearer ${this.token}`
          ? this.#handle(
              request.method ?? '',
              request.url ?? '',
              body === '' ? {} : (JSON.parse(body) as Json),
            )
          : [401, { message: 'another token' }];
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer ?? {}));
    } catch {
      response.destroy();
    }
  }

  #handle(method: string, path: string, body: Json): [number, unknown?] {
    const [, kind = '', encoded = ''] = path.split('/');
    const id = decodeURIComponent(encoded);
    switch (`${method} ${kind}`) {
      case 'GET state':
        return [
          200,
          { resources: Object.fromEntries(this.#resources), records: Object.fromEntries(this.#records) },
        ];
      case 'GET resources':
        return this.#one(id);
      case 'PUT resources':
        this.replace(id, body);
        return this.#one(id);
      case 'PATCH resources': {
        const before = this.#resources.get(id);
        if (before === undefined || Object.keys(before.body).length === 0) return [404];
        this.replace(id, { ...before.body, ...body });
        return this.#one(id);
      }
      case 'PUT records':
        this.#records.set(id, body);
        return [200];
      case 'DELETE records':
        this.#records.delete(id);
        return [200];
      case 'GET routes':
        return [200, [...this.#routes].flatMap(([name, target]) => (target === id ? [name] : []))];
      case 'GET planes':
        return [200, Object.fromEntries(this.#connected())];
      case 'POST planes':
        this.#planes.set(id, { at: performance.now(), report: body as unknown as ToyReport });
        return [200, { resources: Object.fromEntries(this.#resources) }];
      default:
        return [405];
    }
  }

  #one(id: string): [number, unknown?] {
    const resource = this.#resources.get(id);
    return resource === undefined ? [404] : [200, { resource, record: this.#records.get(id) }];
  }

  #connected(): readonly (readonly [string, ToyReport])[] {
    const since = performance.now() - PLANE_GONE_MS;
    return [...this.#planes].flatMap(([name, { at, report }]) =>
      at < since ? [] : [[name, report] as const],
    );
  }
}
