import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { serve } from '../remote.ts';

/** The floor: one bare blocking query per service, which does nothing but note when each answer is complete. */

export interface Watched {
  /** Base URL of Consul. */
  readonly url: string;
  readonly services: readonly string[];
}

/** The complete answer of one blocking query. */
export interface Notice {
  readonly service: string;
  /** When its last byte arrived, on the monotonic clock. */
  readonly at: number;
  /** `host:port` of the passing instances. */
  readonly places: readonly string[];
}

interface Entry {
  readonly Service: { readonly Address: string; readonly Port: number };
  readonly Checks: readonly { readonly Status: string }[];
}

const agent = new Agent({ keepAlive: true });
const bodies: { readonly service: string; readonly at: number; readonly body: string }[] = [];

const handlers = {
  /** Resolves when every service has answered once. */
  async watch({ url, services }: Watched): Promise<void> {
    await Promise.all(
      services.map(async (service) => {
        const index = await ask(url, service, undefined);
        void follow(url, service, index);
      }),
    );
  },
  /** All answers since the last call. Bodies are parsed here, so that parsing delays no answer. */
  take(): readonly Notice[] {
    return bodies.splice(0).map(({ service, at, body }) => ({ service, at, places: placesIn(body) }));
  },
};

export type FloorHandlers = typeof handlers;

serve(handlers);

async function follow(url: string, service: string, first: string): Promise<never> {
  for (let index = first; ; ) index = await ask(url, service, index);
}

/** Resolves to the index of the answer. */
function ask(url: string, service: string, index: string | undefined): Promise<string> {
  const query = index === undefined ? '' : `?index=${index}&wait=50s`;
  return new Promise((resolve, reject) => {
    request(
      new URL(`/v1/health/service/${service}${query}`, url),
      { agent },
      async (answer: IncomingMessage) => {
        const body = await text(answer);
        bodies.push({ service, at: monotonicMs(), body });
        resolve(String(answer.headers['x-consul-index']));
      },
    )
      .once('error', reject)
      .end();
  });
}

function placesIn(body: string): readonly string[] {
  return (JSON.parse(body) as readonly Entry[])
    .filter(({ Checks }) => Checks.every(({ Status }) => Status === 'passing'))
    .map(({ Service: { Address, Port } }) => `${Address}:${Port}`);
}
