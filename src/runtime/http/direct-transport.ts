import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { HttpAgents } from './agents.ts';
import { failureOfCode, HttpError, type HttpFailure } from './failures.ts';
import { MAX_HEADER_BYTES, MAX_RESPONSE_BYTES } from './limits.ts';
import { decodeText, type HttpResponse, type RequestWithBody } from './messages.ts';

/**
 * Sends requests with a body with Node's HTTP client: got takes four times as long
 * (docs/decisions/0039-http-in-one-place.md).
 */
interface DirectTransport {
  send(request: RequestWithBody, signal: AbortSignal): Promise<HttpResponse>;
}

interface DirectTransportOptions {
  readonly agents: HttpAgents;
  readonly connectTimeoutMs: number;
  readonly userAgent: string;
}

export function createDirectTransport({
  agents,
  connectTimeoutMs,
  userAgent,
}: DirectTransportOptions): DirectTransport {
  return {
    async send({ method, url, headers, body, timeoutMs }, signal) {
      signal.throwIfAborted();
      const isSecure = url.protocol === 'https:';
      const payload = JSON.stringify(body);
      const request = (isSecure ? httpsRequest : httpRequest)({
        // urlToHttpOptions() takes a tenth as long as the whole request.
        hostname: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port,
        path: url.pathname + url.search,
        agent: isSecure ? agents.https : agents.http,
        maxHeaderSize: MAX_HEADER_BYTES,
        method,
        headers: {
          ...headers,
          'user-agent': userAgent,
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
): Promise<HttpResponse> {
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
    // Reject immediately: a request that is still waiting for a connection emits no event when it is destroyed.
    const giveUp = (error: unknown) => {
      fail(error);
      request.destroy();
    };
    const giveUpFor = (failure: HttpFailure) => giveUp(new HttpError(failure));
    const abort = () => giveUp(signal.reason);
    const timer = setTimeout(() => giveUpFor({ kind: 'ResponseTimeout', ms: timeoutMs }), timeoutMs);
    signal.addEventListener('abort', abort);
    request.on('socket', (socket) => {
      if (!socket.connecting) return;
      const connecting = setTimeout(
        () => giveUpFor({ kind: 'ConnectTimeout', ms: connectTimeoutMs, phase: 'connect' }),
        connectTimeoutMs,
      );
      const connected = () => clearTimeout(connecting);
      socket.once(isSecure ? 'secureConnect' : 'connect', connected);
      socket.once('close', connected);
    });
    request.on('error', (error) => fail(errorOf(error, isAnswered)));
    let isWhole = false;
    // `close` is the last event, and the only one if the server switches to another protocol.
    request.on('close', () => {
      if (!isWhole) fail(errorOf(undefined, isAnswered));
    });
    request.on('response', (response) => {
      isAnswered = true;
      response.on('error', (error) => fail(errorOf(error, true)));
      collect(response, request, (answer) => {
        isWhole = true;
        end();
        resolve(answer);
        // The server answered before it read the whole request body. Sending the rest could block the connection forever.
        if (!request.writableFinished) request.destroy();
      });
    });
    // Headers and body go out in one write.
    request.end(payload);
  });
}

const TOO_LARGE: HttpFailure = { kind: 'ResponseTooLarge', maxBytes: MAX_RESPONSE_BYTES };

function collect(
  response: IncomingMessage,
  request: ClientRequest,
  done: (answer: HttpResponse) => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const giveUp = (failure: HttpFailure) => request.destroy(new HttpError(failure));
  const { 'content-length': length, 'content-encoding': encoding = '' } = response.headers;
  if (Number(length) > MAX_RESPONSE_BYTES) {
    giveUp(TOO_LARGE);
    return;
  }
  // The request does not accept any content encoding.
  if (!['', 'identity'].includes(encoding.trim().toLowerCase())) {
    giveUp(failureOfCode('ERR_CONTENT_ENCODING'));
    return;
  }
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_RESPONSE_BYTES) giveUp(TOO_LARGE);
    else chunks.push(chunk);
  });
  response.on('end', () => {
    done({ status: response.statusCode ?? 0, headers: response.headers, text: decodeText(chunks) });
  });
}

function errorOf(error: unknown, isAnswered: boolean): HttpError {
  if (error instanceof HttpError) return error;
  const { code = 'ECONNRESET' } = (error ?? {}) as NodeJS.ErrnoException;
  return new HttpError(
    isAnswered && code === 'ECONNRESET' ? { kind: 'ResponseTruncated', code } : failureOfCode(code),
  );
}
