import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { serve } from '../remote.ts';

/** The floor: one bare blocking query or watch per service, which does nothing but note when each answer is complete. */

export interface Watched {
  readonly type: 'Consul' | 'Etcd';
  /** Base URL of the registry. */
  readonly url: string;
  readonly services: readonly string[];
}

/** The complete answer of one blocking query, or one event of a watch. */
export interface Notice {
  readonly service: string;
  /** When its last byte arrived, on the monotonic clock. */
  readonly at: number;
  /** `host:port` of the passing instances after it. */
  readonly places: readonly string[];
}

interface Entry {
  readonly Service: { readonly Address: string; readonly Port: number };
  readonly Checks: readonly { readonly Status: string }[];
}

const agent = new Agent({ keepAlive: true });
const bodies: { readonly service: string; readonly at: number; readonly body: string }[] = [];
let type: Watched['type'] = 'Consul';

const handlers = {
  /** Resolves when every service has answered once. */
  async watch({ type: watched, url, services }: Watched): Promise<void> {
    type = watched;
    if (type === 'Etcd') {
      await Promise.all(services.map((service) => watchEtcd(url, service)));
      return;
    }
    await Promise.all(
      services.map(async (service) => {
        const index = await ask(url, service, undefined);
        void follow(url, service, index);
      }),
    );
  },
  /** All answers since the last call. Bodies are parsed here, so that parsing delays no answer. */
  take(): readonly Notice[] {
    return bodies.splice(0).map(({ service, at, body }) => ({
      service,
      at,
      places: type === 'Etcd' ? placesAfter(service, body) : placesIn(body),
    }));
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

/** Resolves when the watch has begun. */
async function watchEtcd(url: string, service: string): Promise<void> {
  const [key, range_end] = [`/services/${service}/`, `/services/${service}0`].map((text) =>
    Buffer.from(text).toString('base64'),
  );
  const send = async (path: string, body: object): Promise<IncomingMessage> => {
    const sent = request(new URL(path, url), { agent, method: 'POST' }).end(JSON.stringify(body));
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    return answer;
  };
  const { kvs = [] } = JSON.parse(await text(await send('/v3/kv/range', { key, range_end }))) as {
    readonly kvs?: readonly KeyValue[];
  };
  listed.set(service, new Set(kvs.map(placeIn)));
  // The benchmark makes no change in between.
  const lines = createInterface(await send('/v3/watch', { create_request: { key, range_end } }));
  const begun = once(lines, 'line');
  lines.on('line', (body) => bodies.push({ service, at: monotonicMs(), body }));
  await begun;
}

interface KeyValue {
  readonly key: string;
}

interface WatchLine {
  readonly result: { readonly events?: readonly { readonly type?: 'DELETE'; readonly kv: KeyValue }[] };
}

/** `host:port` by service. */
const listed = new Map<string, Set<string>>();

function placesAfter(service: string, line: string): readonly string[] {
  const places = listed.get(service) ?? new Set();
  for (const { type: change, kv } of (JSON.parse(line) as WatchLine).result.events ?? []) {
    if (change === 'DELETE') places.delete(placeIn(kv));
    else places.add(placeIn(kv));
  }
  return [...places];
}

/** The keys end with the place. */
function placeIn({ key }: KeyValue): string {
  return Buffer.from(key, 'base64').toString().split('/').at(-1) ?? '';
}
