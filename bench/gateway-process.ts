import { Agent, createServer, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type RecordedRequest, startStandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import { monotonicMs } from '../test/support/monotonic.ts';
import { serve } from './remote.ts';

/** The gateway: the stand-in, or a real APISIX behind a proxy that records requests and response times. */
interface Gateway {
  readonly url: string;
  readonly key: string;
  readonly requests: readonly RecordedRequest[];
  clear(): void;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const { APISIX_ADMIN_URL: realUrl, APISIX_ADMIN_KEY: realKey = '' } = process.env;
const gateway = realUrl === undefined ? await standIn() : await front(realUrl, realKey);
/** The number of `gateway.requests` that are counted already. */
let counted = 0;
let writes = 0;
/** Their upstream ids, without the floor's. */
const upstreams = new Set<string>();

const handlers = {
  address: () => ({ url: gateway.url, key: gateway.key }),
  /** Writes answered since the last `take`. */
  writes() {
    count();
    return writes;
  },
  /** Upstreams written since the last `take`, without the floor's. */
  upstreams() {
    count();
    return upstreams.size;
  },
  /** Every request since the last `take`. */
  take() {
    const taken = gateway.requests.map((request) => ({ ...request }));
    gateway.clear();
    counted = 0;
    writes = 0;
    upstreams.clear();
    return taken;
  },
};

export type GatewayHandlers = typeof handlers;

serve(handlers);

function count(): void {
  // Stop at the first request without a response, which is counted later.
  for (; counted < gateway.requests.length; counted += 1) {
    const request = gateway.requests[counted];
    if (request?.answeredAt === undefined) break;
    if (request.method === 'GET') continue;
    writes += 1;
    const id = /\/upstreams\/([^/?]+)/.exec(request.path)?.[1];
    if (id !== undefined && !id.startsWith('floor-')) upstreams.add(id);
  }
}

async function standIn(): Promise<Gateway> {
  const { adminUrl, adminKey, requests, clearRequests } = await startStandIn();
  return { url: adminUrl, key: adminKey, requests, clear: clearRequests };
}

async function front(target: string, key: string): Promise<Gateway> {
  const requests: RecordedRequest[] = [];
  const isTls = target.startsWith('https:');
  const agent = new (isTls ? HttpsAgent : Agent)({ keepAlive: true });
  const server = createServer(async (incoming, outgoing) => {
    const { method = '', url: path = '', headers } = incoming;
    const record: Mutable<RecordedRequest> = {
      seq: requests.length,
      method,
      path,
      status: undefined,
      body: undefined,
      arrivedAt: monotonicMs(),
      answeredAt: undefined,
    };
    requests.push(record);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch {
      // The client closed the connection during its request, so the gateway never received it.
      return;
    }
    const body = Buffer.concat(chunks);
    record.body = body.toString();
    const forwarded = (isTls ? httpsRequest : httpRequest)(
      new URL(path, target),
      { method, headers: { ...headers, host: new URL(target).host }, agent },
      (answer) => {
        record.status = answer.statusCode;
        record.answeredAt = monotonicMs();
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    forwarded.once('error', () => outgoing.destroy());
    forwarded.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    key,
    requests,
    clear: () => {
      requests.length = 0;
    },
  };
}
