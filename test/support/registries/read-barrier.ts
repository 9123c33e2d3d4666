import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import PQueue from 'p-queue';
import { forward } from './forward.ts';

/**
 * An HTTP proxy on 127.0.0.1 in front of a registry that has no transactions. Requests wait while a test writes, so that
 * no answer shows half of the writes.
 */
export class ReadBarrier implements AsyncDisposable {
  readonly #target: URL;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #writes = new PQueue({ concurrency: 1 });
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #server = createServer((incoming, response) => void this.#handle(incoming, response));

  private constructor(target: URL) {
    this.#target = target;
  }

  static async start(target: URL): Promise<ReadBarrier> {
    const barrier = new ReadBarrier(target);
    await once(barrier.#server.listen(0, '127.0.0.1'), 'listening');
    return barrier;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  /** Requests that are under way are answered before `write` begins. */
  async during(write: () => Promise<void>): Promise<void> {
    await this.#writes.add(async () => {
      await Promise.all(this.#underWay);
      await write();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#agent.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    await this.#writes.onIdle();
    // The client has gone while it waited. Nothing would end the request, and every later write would wait for it.
    if (response.destroyed) return;
    const closed = once(response, 'close');
    this.#underWay.add(closed);
    forward(incoming, response, this.#target, this.#agent);
    await closed;
    this.#underWay.delete(closed);
  }
}
