import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface LoadResult {
  readonly sent: number;
  readonly failed: number;
  /** How many of each kind. */
  readonly failures: Readonly<Record<string, number>>;
}

export interface Load {
  readonly sent: number;
  /** Sends no more, waits for the answers under way, and resolves to what was counted. */
  stop(): Promise<LoadResult>;
}

const CONCURRENCY = 200;
const ANSWER_WITHIN_MS = 20_000;

/**
 * Sends GET and POST in turn at a fixed rate. An answer other than 200, no answer within 20 s, and a connection that breaks are
 * failures. At most 200 requests are under way: a gateway that hangs is not flooded.
 */
export function startLoad(url: string, requestsPerSecond: number): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });
  const failures: Record<string, number> = {};
  const underWay = new Set<Promise<void>>();
  let sent = 0;
  let running = true;

  const send = async (method: 'GET' | 'POST') => {
    sent += 1;
    const failure = await failureOf(url, method, agent);
    if (failure !== undefined) failures[failure] = (failures[failure] ?? 0) + 1;
  };
  const loop = (async () => {
    const startedMs = performance.now();
    while (running) {
      const due = ((performance.now() - startedMs) / 1000) * requestsPerSecond;
      while (sent < due && underWay.size < CONCURRENCY) {
        const one = send(sent % 2 === 0 ? 'GET' : 'POST').finally(() => underWay.delete(one));
        underWay.add(one);
      }
      await delay(5);
    }
  })();

  return {
    get sent() {
      return sent;
    },
    async stop() {
      running = false;
      await loop;
      await Promise.all(underWay);
      agent.destroy();
      const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
      return { sent, failed, failures };
    },
  };
}

function failureOf(url: string, method: 'GET' | 'POST', agent: Agent): Promise<string | undefined> {
  return new Promise((resolve) => {
    const failed = (reason: string) => resolve(`${method} ${reason}`);
    const outgoing = request(url, { method, agent, timeout: ANSWER_WITHIN_MS }, (incoming) => {
      incoming.on('error', (error) => failed(error.message));
      incoming.on('end', () =>
        incoming.statusCode === 200 ? resolve(undefined) : failed(`${incoming.statusCode}`),
      );
      incoming.resume();
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')));
    outgoing.on('error', (error) => failed(error.message));
    outgoing.end(method === 'POST' ? 'body' : undefined);
  });
}
