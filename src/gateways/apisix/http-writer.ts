import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { urlToHttpOptions } from 'node:url';
import type { HttpAgents } from './http-agents.ts';
import {
  type HttpAnswer,
  MAX_ANSWER_BYTES,
  type NoAnswer,
  NoAnswerError,
  USER_AGENT,
} from './http-answer.ts';

export interface HttpWrite {
  readonly method: 'PUT' | 'PATCH';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
  /** For the whole answer. */
  readonly timeoutMs: number;
}

/** Sends requests with a body: no retries, no redirects, bounded answers. */
export interface HttpWriter {
  /** Rejects with the signal's reason or a `NoAnswerError`. */
  send(write: HttpWrite, signal: AbortSignal): Promise<HttpAnswer>;
}

/**
 * What every change goes through, and so of Node's own client and no more: got takes as long again as the request itself
 * (docs/decisions/0027-writes-without-got.md). A request's path is appended to that of `base`; `connectTimeoutMs` is for
 * a new connection with everything that it takes.
 */
export function createHttpWriter(base: URL, agents: HttpAgents, connectTimeoutMs: number): HttpWriter {
  const isSecure = base.protocol === 'https:';
  const target: RequestOptions = {
    ...urlToHttpOptions(base),
    agent: isSecure ? agents.https : agents.http,
  };

  return {
    async send({ method, path, headers, body, timeoutMs }, signal) {
      signal.throwIfAborted();
      const payload = JSON.stringify(body);
      const request = (isSecure ? httpsRequest : httpRequest)({
        ...target,
        method,
        path: base.pathname + path,
        headers: {
          ...headers,
          'user-agent': USER_AGENT,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(payload),
        },
      });
      const abort = () => request.destroy();
      const timer = setTimeout(() => {
        request.destroy(
          new NoAnswerError({ kind: 'timeout', phase: 'answer', ms: timeoutMs, at: 'request' }),
        );
      }, timeoutMs);
      signal.addEventListener('abort', abort);
      try {
        return await exchange(request, payload, isSecure, connectTimeoutMs);
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
      }
    },
  };
}

function exchange(
  request: ClientRequest,
  payload: string,
  isSecure: boolean,
  connectTimeoutMs: number,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    let isAnswered = false;
    let isWhole = false;
    const fail = (error: unknown) => reject(noAnswer(error, isAnswered));
    request.on('socket', (socket) => {
      if (!socket.connecting) return;
      const timer = setTimeout(() => {
        request.destroy(
          new NoAnswerError({ kind: 'timeout', phase: 'connect', ms: connectTimeoutMs, at: 'connect' }),
        );
      }, connectTimeoutMs);
      const stop = () => clearTimeout(timer);
      socket.once(isSecure ? 'secureConnect' : 'connect', stop);
      socket.once('close', stop);
    });
    request.on('error', fail);
    // After everything else, and with nothing else where the server asks for another protocol.
    request.on('close', () => {
      if (!isWhole) fail(undefined);
    });
    request.on('response', (response) => {
      isAnswered = true;
      response.on('error', fail);
      collect(response, request, (answer) => {
        isWhole = true;
        resolve(answer);
      });
    });
    // One piece with the headers.
    request.end(payload);
  });
}

function collect(
  response: IncomingMessage,
  request: ClientRequest,
  done: (answer: HttpAnswer) => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const giveUp = (why: NoAnswer) => request.destroy(new NoAnswerError(why));
  const { 'content-length': length, 'content-encoding': encoding = 'identity' } = response.headers;
  if (Number(length) > MAX_ANSWER_BYTES) {
    giveUp({ kind: 'tooLarge' });
    return;
  }
  // Nobody asked for another one.
  if (encoding !== 'identity') {
    giveUp({ kind: 'broken', code: 'ERR_CONTENT_ENCODING', isHalf: false });
    return;
  }
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) giveUp({ kind: 'tooLarge' });
    else chunks.push(chunk);
  });
  response.on('end', () => {
    const [only] = chunks;
    const whole = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
    done({
      statusCode: response.statusCode ?? 0,
      headers: response.headers,
      body: whole.toString('utf8'),
    });
  });
}

function noAnswer(error: unknown, isHalf: boolean): NoAnswerError {
  if (error instanceof NoAnswerError) return error;
  const { code = 'ECONNRESET' } = (error ?? {}) as NodeJS.ErrnoException;
  return new NoAnswerError({ kind: 'broken', code, isHalf: isHalf && code === 'ECONNRESET' });
}
