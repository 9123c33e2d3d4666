import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import got, { type Response } from 'got';

export interface HttpClientOptions {
  readonly tls: {
    /** PEM. */
    readonly ca?: string;
    readonly clientCert?: string;
    readonly clientKey?: string;
    readonly serverName?: string;
    readonly insecureSkipVerify: boolean;
  };
  /** Connections to one host at once. */
  readonly concurrency: number;
  readonly connectTimeoutMs: number;
}

export interface HttpRequest {
  readonly method: 'GET' | 'PUT' | 'PATCH' | 'DELETE';
  readonly timeoutMs: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
}

/** HTTP as every interface of APISIX is spoken to: kept connections, no retries, no redirects, bounded answers. */
export interface HttpClient {
  /** Rejects with the signal's reason, `AnswerTooLargeError`, or got's own error, which holds headers and body. */
  send(url: URL, request: HttpRequest, signal: AbortSignal): Promise<Response<string>>;
  /** Closes idle connections; those of calls under way end after them. */
  close(): void;
}

/** The list of 10,000 upstreams of 10 nodes is about 15 MiB. */
export const MAX_ANSWER_BYTES = 128 * 1024 * 1024;

export class AnswerTooLargeError extends Error {
  override readonly name = 'AnswerTooLargeError';
}

export function createHttpClient({ tls, concurrency, connectTimeoutMs }: HttpClientOptions): HttpClient {
  const agents = {
    http: new HttpAgent({ keepAlive: true, maxSockets: concurrency }),
    https: new HttpsAgent({ keepAlive: true, maxSockets: concurrency }),
  };
  const client = got.extend({
    agent: agents,
    // One layer of retries: the work queue.
    retry: { limit: 0 },
    // got would send the key along to wherever a redirect leads.
    followRedirect: false,
    throwHttpErrors: false,
    responseType: 'text',
    timeout: { lookup: connectTimeoutMs, connect: connectTimeoutMs, secureConnect: connectTimeoutMs },
    headers: { 'user-agent': 'gateway-upstream-operator' },
    https: {
      rejectUnauthorized: !tls.insecureSkipVerify,
      ...(tls.ca === undefined ? {} : { certificateAuthority: tls.ca }),
      ...(tls.clientCert === undefined ? {} : { certificate: tls.clientCert }),
      ...(tls.clientKey === undefined ? {} : { key: tls.clientKey }),
      ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
    },
  });

  return {
    async send(url, { method, timeoutMs, headers = {}, body }, signal) {
      const tooLarge = new AbortController();
      try {
        return await client(url, {
          method,
          signal: AbortSignal.any([signal, tooLarge.signal]),
          responseType: 'text',
          timeout: { request: timeoutMs },
          headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        }).on('downloadProgress', ({ transferred, total = 0 }) => {
          if (Math.max(transferred, total) > MAX_ANSWER_BYTES) tooLarge.abort();
        });
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (tooLarge.signal.aborted) throw new AnswerTooLargeError(`more than ${MAX_ANSWER_BYTES} bytes`);
        throw error;
      }
    },

    close() {
      for (const agent of [agents.http, agents.https]) {
        // `agent.destroy()` would cut the calls under way as well; with 0 their connections end after them.
        agent.maxFreeSockets = 0;
        for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
      }
    },
  };
}
