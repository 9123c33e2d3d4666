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
      return await exchange(request, payload, { isSecure, connectTimeoutMs, timeoutMs, signal });
    },
  };
}

interface ExchangeOptions {
  readonly isSecure: boolean;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

function exchange(
  request: ClientRequest,
  payload: string,
  { isSecure, connectTimeoutMs, timeoutMs, signal }: ExchangeOptions,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    let isAnswered = false;
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    const fail = (error: unknown) => {
      end();
      reject(error);
    };
    // At once: a request that still waits for a connection says nothing when it is destroyed.
    const giveUp = (error: unknown) => {
      fail(error);
      request.destroy();
    };
    const timeOut = (phase: 'connect' | 'answer', ms: number, at: string) =>
      giveUp(new NoAnswerError({ kind: 'timeout', phase, ms, at }));
    const abort = () => giveUp(signal.reason);
    const timer = setTimeout(() => timeOut('answer', timeoutMs, 'request'), timeoutMs);
    signal.addEventListener('abort', abort);
    request.on('socket', (socket) => {
      if (!socket.connecting) return;
      const connecting = setTimeout(() => timeOut('connect', connectTimeoutMs, 'connect'), connectTimeoutMs);
      const connected = () => clearTimeout(connecting);
      socket.once(isSecure ? 'secureConnect' : 'connect', connected);
      socket.once('close', connected);
    });
    request.on('error', (error) => fail(noAnswer(error, isAnswered)));
    let isWhole = false;
    // After everything else, and with nothing else where the server asks for another protocol.
    request.on('close', () => {
      if (!isWhole) fail(noAnswer(undefined, isAnswered));
    });
    request.on('response', (response) => {
      isAnswered = true;
      response.on('error', (error) => fail(noAnswer(error, true)));
      collect(response, request, (answer) => {
        isWhole = true;
        end();
        resolve(answer);
        // What is not sent by now is not wanted any more, and would keep the connection for ever.
        if (!request.writableFinished) request.destroy();
      });
    });
    // One piece with the headers.
    request.end(payload);
  });
}

const TOO_LARGE: NoAnswer = { kind: 'tooLarge', maxBytes: MAX_ANSWER_BYTES };

function collect(
  response: IncomingMessage,
  request: ClientRequest,
  done: (answer: HttpAnswer) => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const giveUp = (why: NoAnswer) => request.destroy(new NoAnswerError(why));
  const { 'content-length': length, 'content-encoding': encoding = '' } = response.headers;
  if (Number(length) > MAX_ANSWER_BYTES) {
    giveUp(TOO_LARGE);
    return;
  }
  // Nobody asked for another one.
  if (!['', 'identity'].includes(encoding.trim().toLowerCase())) {
    giveUp({ kind: 'broken', code: 'ERR_CONTENT_ENCODING', isHalf: false });
    return;
  }
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) giveUp(TOO_LARGE);
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
