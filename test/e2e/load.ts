import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface LoadResult {
  readonly sent: number;
  /** How many the rate and the time allow. Fewer are sent only while 200 are under way. */
  readonly due: number;
  readonly failed: number;
  /** The longest time until a complete answer, in milliseconds. */
  readonly slowestMs: number;
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
  const startedMs = performance.now();
  const dueNow = () => ((performance.now() - startedMs) / 1000) * requestsPerSecond;
  let sent = 0;
  let slowestMs = 0;
  let result: Promise<LoadResult> | undefined;

  const send = async (method: 'GET' | 'POST') => {
    sent += 1;
    const sentAtMs = performance.now();
    const failure = await failureOf(url, method, agent);
    slowestMs = Math.max(slowestMs, performance.now() - sentAtMs);
    if (failure !== undefined) failures[failure] = (failures[failure] ?? 0) + 1;
  };
  const loop = (async () => {
    while (result === undefined) {
      const due = dueNow();
      while (sent < due && underWay.size < CONCURRENCY) {
        const one = send(sent % 2 === 0 ? 'GET' : 'POST').finally(() => underWay.delete(one));
        underWay.add(one);
      }
      await delay(5);
    }
  })();

  const finish = async (): Promise<LoadResult> => {
    const due = Math.floor(dueNow());
    await loop;
    await Promise.all(underWay);
    agent.destroy();
    const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
    return { sent, due, failed, slowestMs, failures };
  };
  return {
    get sent() {
      return sent;
    },
    stop() {
      result ??= finish();
      return result;
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

/** For the log of a run: what happened to the requests. */
export function loadText({ sent, due, failed, slowestMs, failures }: LoadResult): string {
  const notSent = due - sent > due / 100 ? `, ${due - sent} not sent` : '';
  const kinds = failed === 0 ? '' : ` ${JSON.stringify(failures)}`;
  return `${failed} of ${sent} requests failed${kinds}${notSent}, slowest ${Math.round(slowestMs)} ms`;
}
