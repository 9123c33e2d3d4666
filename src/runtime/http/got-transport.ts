import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import got, { ReadError, RequestError, type Request as Stream, TimeoutError } from 'got';
import type { HttpAgents } from './agents.ts';
import { failureOfCode, HttpError, type HttpFailure } from './failures.ts';
import { ItemScanner, NotJsonError, NotObjectsError } from './item-scanner.ts';
import {
  LIST_SLICE_BYTES,
  MAX_HEADER_BYTES,
  MAX_LINE_BYTES,
  MAX_LIST_BYTES,
  MAX_RESPONSE_BYTES,
} from './limits.ts';
import {
  type BareRequest,
  decodeText,
  type HttpResponse,
  type LinesRequest,
  type LinesResponse,
  type ListRequest,
  type ListResponse,
} from './messages.ts';

/** Sends requests without a body, and requests whose response is a stream, with got. */
interface GotTransport {
  send(request: BareRequest, signal: AbortSignal): Promise<HttpResponse>;
  list(request: ListRequest, signal: AbortSignal): Promise<ListResponse | HttpResponse>;
  lines(request: LinesRequest, signal: AbortSignal): Promise<LinesResponse | HttpResponse>;
}

interface GotTransportOptions {
  readonly agents: HttpAgents;
  readonly connectTimeoutMs: number;
  readonly userAgent: string;
}

export function createGotTransport({
  agents,
  connectTimeoutMs,
  userAgent,
}: GotTransportOptions): GotTransport {
  const client = got.extend({
    agent: agents,
    // Without this, got's default would override the agent's setting.
    https: { rejectUnauthorized: agents.https.options.rejectUnauthorized ?? true },
    retry: { limit: 0 },
    followRedirect: false,
    throwHttpErrors: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    timeout: { lookup: connectTimeoutMs, connect: connectTimeoutMs, secureConnect: connectTimeoutMs },
    headers: { 'user-agent': userAgent },
  });

  /** Calls `read` with the response headers as soon as they arrive, and with the body as a stream. */
  async function exchange<T>(
    { method, url, headers = {}, timeoutMs, json }: Exchange,
    signal: AbortSignal,
    read: (head: Head, body: Stream) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    const sent = json === undefined ? {} : { json };
    const stream = client.stream(url, { method, signal, timeout: { request: timeoutMs }, headers, ...sent });
    // Without a listener, an error after the response was read or abandoned would end the process.
    stream.on('error', () => undefined);
    try {
      // got waits for a request body, because DELETE may have one.
      if (method === 'DELETE') stream.end();
      const [{ statusCode = 0, headers: given }] = (await once(stream, 'response')) as [IncomingMessage];
      return await read({ status: statusCode, headers: given }, stream);
    } catch (error) {
      stream.destroy();
      if (signal.aborted) throw signal.reason;
      throw errorOf(error);
    }
  }

  return {
    send: (request, signal) => exchange(request, signal, readWhole),

    list: ({ path, take, body: json, ...request }, signal) =>
      exchange({ ...request, ...streamed(json) }, signal, async (head, body) =>
        head.status === 200
          ? { ...head, status: 200, rest: await readItems(head, body, new ItemScanner(take, path)) }
          : await readWhole(head, body),
      ),

    lines: ({ take, sent, body: json, ...request }, signal) => {
      sent?.();
      return exchange({ ...request, ...streamed(json) }, signal, (head, body) =>
        readStream(head, body, take),
      );
    },
  };
}

/** A request without a body, or with one that is sent as JSON. */
type Exchange = Omit<BareRequest, 'method' | 'body'> & {
  readonly method: 'GET' | 'DELETE' | 'POST';
  readonly json?: object;
};

function streamed(json: object | undefined): Pick<Exchange, 'method' | 'json'> {
  return json === undefined ? { method: 'GET' } : { method: 'POST', json };
}

type Head = Pick<HttpResponse, 'status' | 'headers'>;
type SizeFailure = Extract<HttpFailure, { readonly maxBytes: number }>;

/** An error of the scanner or of `take`, not of the connection. */
class ItemError extends Error {}

async function readWhole(head: Head, body: Stream): Promise<HttpResponse> {
  const limit = new SizeLimit(head, { kind: 'ResponseTooLarge', maxBytes: MAX_RESPONSE_BYTES });
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) {
    limit.count(chunk);
    chunks.push(chunk);
  }
  return { ...head, text: decodeText(chunks) };
}

async function readItems(head: Head, body: Stream, scanner: ItemScanner): Promise<unknown> {
  const limit = new SizeLimit(head, { kind: 'ListTooLarge', maxBytes: MAX_LIST_BYTES });
  let slice = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    limit.count(chunk);
    try {
      scanner.push(chunk);
    } catch (cause) {
      throw new ItemError('', { cause });
    }
    slice += chunk.length;
    if (slice < LIST_SLICE_BYTES) continue;
    slice = 0;
    await nextTurn();
  }
  try {
    return scanner.end();
  } catch (cause) {
    throw new ItemError('', { cause });
  }
}

async function readStream(
  head: Head,
  body: Stream,
  take: LinesRequest['take'],
): Promise<LinesResponse | HttpResponse> {
  if (head.status !== 200) return await readWhole(head, body);
  await readLines(body, take);
  body.destroy();
  return { ...head, status: 200 };
}

/** Ends when `take` returns true, or with the stream. */
async function readLines(body: Stream, take: (line: string) => boolean): Promise<void> {
  const line = new LineBuffer();
  for await (const chunk of body as AsyncIterable<Buffer>) {
    for (let from = 0; from < chunk.length; ) {
      const end = chunk.indexOf(LINE_FEED, from);
      line.add(chunk.subarray(from, end < 0 ? chunk.length : end));
      if (end < 0) break;
      if (take(line.end())) return;
      from = end + 1;
    }
  }
}

const LINE_FEED = 0x0a;

/** The current line, of which at most `MAX_LINE_BYTES` are kept. */
class LineBuffer {
  #parts: Buffer[] = [];
  #bytes = 0;

  add(part: Buffer): void {
    const kept = part.subarray(0, MAX_LINE_BYTES - this.#bytes);
    if (kept.length === 0) return;
    this.#bytes += kept.length;
    this.#parts.push(Buffer.from(kept));
  }

  end(): string {
    const text = decodeText(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    return text;
  }
}

/**
 * Throws `failure` as soon as the response exceeds its `maxBytes`, according to Content-Length or to the received bytes.
 */
class SizeLimit {
  readonly #failure: SizeFailure;
  #bytes = 0;

  constructor({ headers }: Head, failure: SizeFailure) {
    this.#failure = failure;
    if (Number(headers['content-length']) > failure.maxBytes) throw new HttpError(failure);
  }

  count(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#failure.maxBytes) throw new HttpError(this.#failure);
  }
}

function errorOf(error: unknown): unknown {
  if (error instanceof HttpError) return error;
  if (!(error instanceof ItemError)) return new HttpError(failureOf(error));
  const { cause } = error;
  if (cause instanceof NotObjectsError) return new HttpError({ kind: 'NotObjects' });
  if (cause instanceof NotJsonError) return new HttpError({ kind: 'NotJson', status: 200 });
  return cause;
}

function failureOf(error: unknown): HttpFailure {
  if (error instanceof TimeoutError) {
    // got's message is `Timeout awaiting 'connect' for 5000ms`. Only the phase and the number are safe and useful.
    const ms = Number(/(\d+)ms$/.exec(error.message)?.[1]);
    return error.event === 'request'
      ? { kind: 'ResponseTimeout', ms }
      : { kind: 'ConnectTimeout', ms, phase: error.event };
  }
  const code = error instanceof RequestError ? error.code : 'no code';
  const isTruncated =
    code === 'ERR_HTTP_CONTENT_LENGTH_MISMATCH' || (error instanceof ReadError && code === 'ECONNRESET');
  return isTruncated ? { kind: 'ResponseTruncated', code } : failureOfCode(code);
}
