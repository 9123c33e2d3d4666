import { Agent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { serve } from './remote.ts';

/**
 * The floor: the fastest possible program between the API server and the gateway. It has a watch on one connection and sends
 * a prepared body with PUT on another one. It does not parse, store, compare or report anything.
 */

export interface FloorTarget {
  readonly server: string;
  readonly caPem: string;
  readonly token: string;
  readonly gatewayUrl: string;
  readonly gatewayKey: string;
}

let target: FloorTarget | undefined;
const gatewayAgent = new Agent({ keepAlive: true });

const handlers = {
  aim(at: FloorTarget) {
    target = at;
  },
  watch,
  puts,
};

export type FloorHandlers = typeof handlers;

serve(handlers);

function aimed(): FloorTarget {
  if (target === undefined) throw new Error('the floor has no target');
  return target;
}

/** The operator's body for ten endpoints, without the first address. */
const [BEFORE, AFTER] = JSON.stringify({
  type: 'roundrobin',
  scheme: 'http',
  nodes: ['FRESH', ...Array.from({ length: 9 }, (_, index) => `192.0.2.${index + 1}`)].map((host) => ({
    host,
    port: 8080,
    weight: 1,
  })),
  labels: Object.fromEntries(
    ['operator', 'cluster', 'connection', 'namespace', 'name'].map((name) => [
      `gatewayupstream.dev/${name}`,
      '12345678-1234-1234-1234-123456789012',
    ]),
  ),
}).split('FRESH') as [string, string];

function put(id: string, fresh: string): Promise<void> {
  const { gatewayUrl, gatewayKey } = aimed();
  const body = BEFORE + fresh + AFTER;
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${gatewayUrl}/apisix/admin/upstreams/${id}`,
      {
        method: 'PUT',
        agent: gatewayAgent,
        headers: {
          'x-api-key': gatewayKey,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
      },
      (answer) => {
        answer.resume();
        answer.once('end', () => {
          if ((answer.statusCode ?? 500) < 300) resolve();
          else reject(new Error(`the gateway answered ${answer.statusCode}`));
        });
      },
    );
    request.once('error', reject);
    request.end(body);
  });
}

/**
 * Watches all slices and writes those for the floor. Resolves when the API server has accepted the watch. Resumes a watch
 * that the API server closes.
 */
function watch(): Promise<void> {
  const { server, caPem, token } = aimed();
  const agent = new HttpsAgent({ keepAlive: true, ca: caPem });
  let version = '';
  const open = (): Promise<void> => {
    const from = version === '' ? '' : `&resourceVersion=${version}`;
    const query = `labelSelector=kubernetes.io%2Fservice-name&watch=true&timeoutSeconds=3600${from}`;
    return new Promise((resolve, reject) => {
      const request = httpsRequest(
        new URL(`/apis/discovery.k8s.io/v1/endpointslices?${query}`, server),
        { headers: { authorization: `Bearer ${token}` }, agent },
        (answer) => {
          answer.setEncoding('utf8');
          let rest = '';
          answer.on('data', (text: string) => {
            const lines = (rest + text).split('\n');
            rest = lines.pop() ?? '';
            for (const line of lines) {
              version = /"resourceVersion":"([0-9]+)"/.exec(line)?.[1] ?? version;
              onLine(line);
            }
          });
          answer.once('close', () => {
            open().catch((error: unknown) => process.stderr.write(`the floor lost its watch: ${error}\n`));
          });
          resolve();
        },
      );
      request.once('error', reject);
      request.end();
    });
  };
  return open();
}

function onLine(line: string): void {
  const fresh = /"bench\/fresh":"([0-9.]+)"/.exec(line)?.[1];
  const id = /"name":"(floor-[0-9]+)-1"/.exec(line)?.[1];
  if (fresh === undefined || id === undefined) return;
  put(id, fresh).catch((error: unknown) => process.stderr.write(`the floor lost a change: ${error}\n`));
}

/** Sends `count` PUTs of different ids with the given concurrency. Resolves to PUTs per second. */
async function puts({ count, concurrency }: { count: number; concurrency: number }): Promise<number> {
  let next = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (; next < count; ) {
        next += 1;
        await put(`floor-put-${next}`, '192.0.2.100');
      }
    }),
  );
  return count / ((performance.now() - began) / 1000);
}
