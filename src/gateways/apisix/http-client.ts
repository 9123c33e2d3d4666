import got, { ReadError, RequestError, TimeoutError } from 'got';
import type { HttpAgents } from './http-agents.ts';
import { type HttpAnswer, MAX_ANSWER_BYTES, NoAnswerError, USER_AGENT } from './http-answer.ts';

export interface HttpRequest {
  readonly method: 'GET' | 'DELETE';
  /** For the whole answer. */
  readonly timeoutMs: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends requests without a body: no retries, no redirects, bounded answers. */
export interface HttpClient {
  /** Rejects with the signal's reason or a `NoAnswerError`. */
  send(url: URL, request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer>;
}

export function createHttpClient(agents: HttpAgents, connectTimeoutMs: number): HttpClient {
  const client = got.extend({
    agent: agents,
    // What the agent knows of TLS counts; got would say something else.
    https: { rejectUnauthorized: agents.https.options.rejectUnauthorized ?? true },
    // One layer of retries: the work queue.
    retry: { limit: 0 },
    // got would send the key along to wherever a redirect leads.
    followRedirect: false,
    throwHttpErrors: false,
    responseType: 'text',
    timeout: { lookup: connectTimeoutMs, connect: connectTimeoutMs, secureConnect: connectTimeoutMs },
    headers: { 'user-agent': USER_AGENT },
  });

  return {
    async send(url, { method, timeoutMs, headers = {} }, signal) {
      const tooLarge = new AbortController();
      try {
        return await client(url, {
          method,
          signal: AbortSignal.any([signal, tooLarge.signal]),
          responseType: 'text',
          timeout: { request: timeoutMs },
          headers,
        }).on('downloadProgress', ({ transferred, total = 0 }) => {
          if (Math.max(transferred, total) > MAX_ANSWER_BYTES) tooLarge.abort();
        });
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw tooLarge.signal.aborted ? new NoAnswerError({ kind: 'tooLarge' }) : noAnswer(error);
      }
    },
  };
}

function noAnswer(error: unknown): NoAnswerError {
  if (error instanceof TimeoutError) {
    // got says `Timeout awaiting 'connect' for 5000ms`; the phase and the number are all that is safe and useful.
    const ms = Number(/(\d+)ms$/.exec(error.message)?.[1]);
    const phase = error.event === 'request' ? 'answer' : 'connect';
    return new NoAnswerError({ kind: 'timeout', phase, ms, at: error.event });
  }
  const code = error instanceof RequestError ? error.code : 'no code';
  const isHalf =
    code === 'ERR_HTTP_CONTENT_LENGTH_MISMATCH' || (error instanceof ReadError && code === 'ECONNRESET');
  return new NoAnswerError({ kind: 'broken', code, isHalf });
}
