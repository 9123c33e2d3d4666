import type { GatewayHarness } from '../../contract/gateway-driver.ts';
import { ToyConfigServer } from './config-server.ts';
import { ToyDataPlane } from './data-plane.ts';
import { createToyDriver } from './driver.ts';

const TOKEN = 'toy-token';

/** A configuration server with one data plane, and a driver for it. */
export async function toyHarness(): Promise<GatewayHarness> {
  const server = await ToyConfigServer.start(TOKEN);
  const plane = new ToyDataPlane(server.url, TOKEN, 'first');
  return {
    driver: createToyDriver({ url: server.url, token: TOKEN, concurrency: 8, requestTimeoutMs: 30_000 }),

    async tamper({ id, retries = 0 }) {
      server.replace(id, { ...server.resource(id)?.body, retries: retries + 1 });
    },

    async refer({ id }) {
      const route = server.route('r1', id);
      return { [Symbol.asyncDispose]: async () => route[Symbol.dispose]() };
    },

    pull: {
      served(id) {
        const body = plane.served(id);
        return (
          body && ((body['nodes'] ?? []) as readonly { readonly host: string }[]).map(({ host }) => host)
        );
      },
      pause() {
        plane.paused = true;
        return {
          [Symbol.dispose]: () => {
            plane.paused = false;
          },
        };
      },
      refuse: (id, why) => plane.refuse(id, why),
      connect: (name) => new ToyDataPlane(server.url, TOKEN, name),
    },

    async [Symbol.asyncDispose]() {
      await plane[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
