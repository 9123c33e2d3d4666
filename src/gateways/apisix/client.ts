import { OPERATOR } from '../../api/group.ts';
import { GatewayAuthError, WriteForbiddenError } from '../../model/errors.ts';
import type { TlsSettings } from '../../runtime/http/agents.ts';
import { createHttpClient } from '../../runtime/http/client.ts';
import { HttpError } from '../../runtime/http/failures.ts';
import type { HttpResponse } from '../../runtime/http/messages.ts';
import { type ApisixMethod, adminRefusal, adminUnavailable } from './admin-errors.ts';
import { assertUsable } from './tls-material.ts';

export interface ApisixOptions {
  /** `http(s)://host:port`, with an optional path, which may end in `/apisix/admin`. */
  readonly adminUrl: string;
  readonly adminKey: string;
  readonly tls: TlsSettings;
  /** Maximum number of concurrent connections. */
  readonly concurrency: number;
  readonly requestTimeoutMs: number;
  /** Called right before every request that writes. A deletion reads references first, which takes time. */
  readonly mayWrite?: () => boolean;
}

export interface ApisixAnswer {
  readonly status: number;
  readonly body: unknown;
  /** From the `Server` header. */
  readonly version: string | undefined;
}

export interface ApisixRequest {
  readonly method: ApisixMethod;
  /** Below `/apisix/admin/`. */
  readonly path: string;
  readonly body?: object;
  /** Statuses that the caller handles. All others are errors. */
  readonly expected: readonly number[];
}

/** HTTP client for the Admin API. Rejects only with `OperatorError`s or the reason of the abort. */
export interface ApisixClient {
  request(request: ApisixRequest, signal: AbortSignal): Promise<ApisixAnswer>;
  /**
   * GET of a list without pages. Passes each item as JSON to `take` while it arrives. The body of a 200 answer is the list
   * without its items.
   */
  list(
    request: Pick<ApisixRequest, 'path' | 'expected'>,
    take: (item: Buffer) => void,
    signal: AbortSignal,
  ): Promise<ApisixAnswer>;
  close(): void;
}

const MAX_CONNECT_MS = 5000;
const ADMIN_PATH = '/apisix/admin/';

/** Throws an `Error` with a message for the user if the options are invalid. */
export function createApisixClient(options: ApisixOptions): ApisixClient {
  const base = adminBase(options.adminUrl);
  const key = options.adminKey.trim();
  const { tls, concurrency, requestTimeoutMs: timeoutMs } = options;
  assertUsable(tls);
  const http = createHttpClient({
    tls,
    maxConnections: concurrency,
    connectTimeoutMs: Math.min(MAX_CONNECT_MS, timeoutMs),
    userAgent: OPERATOR,
  });
  const settingsOf = (path: string) => ({
    url: new URL(path, base),
    headers: { 'X-API-KEY': usableKey(key) },
    timeoutMs,
  });
  const answerOf = (
    { method, expected }: Pick<ApisixRequest, 'method' | 'expected'>,
    response: HttpResponse,
  ): ApisixAnswer => {
    const { status } = response;
    const body = parse(response.text);
    if (!expected.includes(status)) throw adminRefusal(method, response, body, { base, key });
    if (body === undefined) throw adminUnavailable({ kind: 'NotJson', status }, base);
    return { status, body, version: versionOf(response) };
  };
  const failed = (error: unknown) => {
    throw error instanceof HttpError ? adminUnavailable(error.failure, base) : error;
  };

  return {
    async request({ method, path, body = {}, expected }, signal) {
      signal.throwIfAborted();
      if (method !== 'GET' && options.mayWrite?.() === false) throw new WriteForbiddenError();
      const settings = settingsOf(path);
      const response = await http
        .send(
          method === 'PUT' || method === 'PATCH' ? { ...settings, method, body } : { ...settings, method },
          signal,
        )
        .catch(failed);
      return answerOf({ method, expected }, response);
    },

    async list({ path, expected }, take, signal) {
      signal.throwIfAborted();
      const response = await http.list({ ...settingsOf(path), path: ['list'], take }, signal).catch(failed);
      if ('text' in response) return answerOf({ method: 'GET', expected }, response);
      return { status: response.status, body: response.rest, version: versionOf(response) };
    },

    close: () => http.close(),
  };
}

/** Throws for a key that is not valid in an HTTP header. */
function usableKey(key: string): string {
  if (/^[\x20-\x7e]+$/.test(key)) return key;
  throw key === ''
    ? new GatewayAuthError('The admin key is empty', {
        remedy: 'write the admin key of the gateway into the Secret',
      })
    : new GatewayAuthError('The admin key contains invalid characters', {
        remedy: 'check the Secret for line breaks and for a wrong encoding',
      });
}

function adminBase(adminUrl: string): URL {
  let url: URL;
  try {
    url = new URL(adminUrl);
  } catch {
    throw new Error('adminUrl is not a valid URL: use for example http://apisix-admin.apisix:9180');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error('adminUrl must start with http:// or https://');
  if (url.username !== '' || url.password !== '') {
    throw new Error('adminUrl must not contain credentials: write the admin key into the Secret');
  }
  const base = new URL(url.origin);
  base.pathname = url.pathname.replace(/\/+$/, '').replace(/\/apisix\/admin$/, '') + ADMIN_PATH;
  return base;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function versionOf({ headers }: Pick<HttpResponse, 'headers'>): string | undefined {
  return /^APISIX\/(\d+\.\d+\.\d+)/.exec(String(headers['server'] ?? ''))?.[1];
}
