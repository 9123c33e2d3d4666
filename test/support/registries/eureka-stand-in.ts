import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Answers like a Eureka server for what a real one of this project cannot show: other servers, and other instances. */
export class EurekaStandIn implements AsyncDisposable {
  /** By path below `/eureka`: the status, or the body of a response with status 200. */
  readonly answers = new Map<string, number | object>();
  readonly requests: { readonly path: string; readonly authorization: string | undefined }[] = [];
  readonly #server = createServer(({ url = '/', headers }, response) => {
    this.requests.push({ path: url, authorization: headers.authorization });
    const answer = this.answers.get(url.replace(/^\/eureka/, '')) ?? 404;
    if (typeof answer === 'number') response.writeHead(answer).end('{}');
    else response.writeHead(200).end(JSON.stringify(answer));
  });

  static async start(): Promise<EurekaStandIn> {
    const standIn = new EurekaStandIn();
    await once(standIn.#server.listen(0, '127.0.0.1'), 'listening');
    return standIn;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/eureka`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
