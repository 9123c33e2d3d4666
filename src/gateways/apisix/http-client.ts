import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import got, { ReadError, RequestError, TimeoutError } from 'got';
import type { HttpAgents } from './http-agents.ts';
import {
  type HttpAnswer,
  type ListAnswer,
  MAX_ANSWER_BYTES,
  MAX_LIST_BYTES,
  NoAnswerError,
  USER_AGENT,
} from './http-answer.ts';
import { type ItemScanner, NoJsonError } from './item-scanner.ts';

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

  /**
   * GET of a list, whose items go to `scanner` while they arrive. Resolves to the answer itself where its status is not
   * 200. Rejects with the signal's reason, a `NoAnswerError`, `NoJsonError`, or what the scanner's taker throws.
   */
  list(
    url: URL,
    request: Omit<HttpRequest, 'method'>,
    scanner: ItemScanner,
    signal: AbortSignal,
  ): Promise<HttpAnswer | ListAnswer>;
}

/** So much is scanned at once, in some milliseconds: after it the rest of the program has its turn. */
const TURN_BYTES = 512 * 1024;

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
        throw tooLarge.signal.aborted
          ? new NoAnswerError({ kind: 'tooLarge', maxBytes: MAX_ANSWER_BYTES })
          : noAnswer(error);
      }
    },

    async list(url, { timeoutMs, headers = {} }, scanner, signal) {
      const stream = client.stream(url, { signal, timeout: { request: timeoutMs }, headers });
      // One that comes after the answer was given up would end the process.
      stream.on('error', () => undefined);
      try {
        const [response] = (await once(stream, 'response')) as [IncomingMessage];
        const { statusCode = 0, headers: given } = response;
        if (statusCode !== 200) {
          return { statusCode, headers: given, body: await textOf(stream, MAX_ANSWER_BYTES) };
        }
        if (Number(given['content-length']) > MAX_LIST_BYTES) throw listTooLarge();
        await scan(stream, scanner);
        return { statusCode, headers: given, rest: scanner.end() };
      } catch (error) {
        stream.destroy();
        if (signal.aborted) throw signal.reason;
        throw error instanceof TakerError ? error.cause : noAnswer(error);
      }
    },
  };
}

/** What the scanner or its taker threw, which is no fault of the connection. */
class TakerError extends Error {}

async function scan(stream: AsyncIterable<unknown>, scanner: ItemScanner): Promise<void> {
  let bytes = 0;
  let turn = 0;
  for await (const chunk of stream) {
    const { length } = chunk as Buffer;
    bytes += length;
    if (bytes > MAX_LIST_BYTES) throw listTooLarge();
    try {
      scanner.push(chunk as Buffer);
    } catch (cause) {
      throw new TakerError('', { cause });
    }
    turn += length;
    if (turn < TURN_BYTES) continue;
    turn = 0;
    await nextTurn();
  }
}

function listTooLarge(): NoAnswerError {
  return new NoAnswerError({ kind: 'tooLarge', maxBytes: MAX_LIST_BYTES });
}

async function textOf(stream: AsyncIterable<unknown>, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > maxBytes) throw new NoAnswerError({ kind: 'tooLarge', maxBytes });
  }
  return Buffer.concat(chunks).toString('utf8');
}

function noAnswer(error: unknown): Error {
  if (error instanceof NoAnswerError || error instanceof NoJsonError) return error;
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
