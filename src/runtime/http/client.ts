import { closeHttpAgents, createHttpAgents, type TlsSettings } from './agents.ts';
import { createDirectTransport } from './direct-transport.ts';
import { createGotTransport } from './got-transport.ts';
import type { HttpRequest, HttpResponse, ListRequest, ListResponse } from './messages.ts';

export interface HttpClientOptions {
  readonly tls: TlsSettings;
  /** To one host at once, over all requests of the client. */
  readonly maxConnections: number;
  /** For a new connection with everything that it takes: name, TCP and TLS. */
  readonly connectTimeoutMs: number;
  readonly userAgent: string;
}

/**
 * One server, or many of a kind. No retries, which are the business of the caller's queue. No redirects, which would send a
 * key to another server. Every response is bounded (limits.ts). Rejects with an `HttpError`, or with the signal's reason.
 */
export interface HttpClient {
  send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
  /** Resolves to the response itself if its status is not 200. Rejects also with what `take` throws. */
  list(request: ListRequest, signal: AbortSignal): Promise<ListResponse | HttpResponse>;
  /** Closes idle connections. Requests under way are completed. */
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
    // What has a body is a write, and waits for nothing that it does not need (docs/decisions/0039-http-in-one-place.md).
    send: (request, signal) =>
      request.body === undefined ? got.send(request, signal) : direct.send(request, signal),
    list: got.list,
    close: () => closeHttpAgents(agents),
  };
}
