import { closeHttpAgents, createHttpAgents, type TlsSettings } from './agents.ts';
import { createDirectTransport } from './direct-transport.ts';
import { createGotTransport } from './got-transport.ts';
import type {
  HttpRequest,
  HttpResponse,
  LinesRequest,
  LinesResponse,
  ListRequest,
  ListResponse,
} from './messages.ts';

export interface HttpClientOptions {
  readonly tls: TlsSettings;
  /** Maximum number of concurrent connections per host, over all requests of the client. */
  readonly maxConnections: number;
  /** Timeout for a new connection, including DNS, TCP and TLS. */
  readonly connectTimeoutMs: number;
  readonly userAgent: string;
}

/**
 * HTTP client for one or more servers with the same settings. It does not retry, because the caller's queue does. It does
 * not follow redirects, which could send a key to another server. The size of every response is limited (limits.ts).
 * Rejects with `HttpError`, or with the signal's reason.
 */
export interface HttpClient {
  send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
  /** Resolves to the plain response if its status is not 200. Also rejects with any error that `take` throws. */
  list(request: ListRequest, signal: AbortSignal): Promise<ListResponse | HttpResponse>;
  /** Resolves to the plain response if its status is not 200. */
  lines(request: LinesRequest, signal: AbortSignal): Promise<LinesResponse | HttpResponse>;
  /** Closes idle connections. Requests in flight complete. */
  close(): void;
}

export function createHttpClient({
  tls,
  maxConnections,
  connectTimeoutMs,
  userAgent,
}: HttpClientOptions): HttpClient {
  const agents = createHttpAgents(tls, maxConnections);
  const got = createGotTransport({ agents, connectTimeoutMs, userAgent });
  const direct = createDirectTransport({ agents, connectTimeoutMs, userAgent });
  return {
    // A request with a body is a write, and takes the fastest path (docs/decisions/0039-http-in-one-place.md).
    send: (request, signal) =>
      request.body === undefined ? got.send(request, signal) : direct.send(request, signal),
    list: got.list,
    lines: got.lines,
    close: () => closeHttpAgents(agents),
  };
}
