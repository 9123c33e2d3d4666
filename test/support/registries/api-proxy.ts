import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A proxy on 127.0.0.1 in front of Nacos that has one version of its API, as older and newer servers do. */
export class ApiProxy implements AsyncDisposable {
  readonly #server;

  private constructor(target: URL, api: string) {
    this.#server = createServer((incoming, response) => {
      const { method, url = '/', headers } = incoming;
      if (!url.startsWith(`/nacos/${api}/`)) {
        response.writeHead(404).end('{"status":404,"error":"Not Found"}');
        return;
      }
      const outgoing = request(new URL(url, target), { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      outgoing.on('error', () => response.destroy());
      incoming.pipe(outgoing);
    });
  }

  static async start(target: URL, api: string): Promise<ApiProxy> {
    const proxy = new ApiProxy(target, api);
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
