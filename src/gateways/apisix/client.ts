import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import got, { type Got, RequestError, type Response, TimeoutError } from 'got';
import { z } from 'zod';
import {
  GatewayAuthError,
  GatewayRejectedError,
  GatewayUnavailableError,
  type OperatorError,
  UpstreamInUseError,
} from '../../core/errors.ts';

export interface ApisixOptions {
  /** `http(s)://host:port`, with or without a path before, or with, `/apisix/admin`. */
  readonly adminUrl: string;
  readonly adminKey: string;
  readonly tls: {
    /** PEM. */
    readonly ca?: string;
    readonly clientCert?: string;
    readonly clientKey?: string;
    readonly serverName?: string;
    readonly insecureSkipVerify: boolean;
  };
  /** Connections at once. */
  readonly concurrency: number;
  readonly requestTimeoutMs: number;
}

export interface ApisixAnswer {
  readonly status: number;
  readonly body: unknown;
  /** From the `Server` header. */
  readonly version: string | undefined;
}

export interface ApisixRequest {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** Below `/apisix/admin/`. */
  readonly path: string;
  readonly body?: object;
  /** Statuses that mean something to the caller and are not errors. */
  readonly expected: readonly number[];
}

/** The Admin API with one place where its answers become errors. Rejects with `OperatorError`s only, or the abort's reason. */
export interface ApisixClient {
  request(request: ApisixRequest, signal: AbortSignal): Promise<ApisixAnswer>;
  close(): void;
}

const MAX_WORDS = 512;
const MAX_RETRY_AFTER_MS = 300_000;
/** The list of 10,000 upstreams of 10 nodes is about 15 MiB. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const ADMIN_PATH = '/apisix/admin/';

const refusal = z.object({
  error_msg: z.string().optional(),
  message: z.string().optional(),
  description: z.string().optional(),
});

/** Throws an `Error` that says what is wrong with the options. */
export function createApisixClient(options: ApisixOptions): ApisixClient {
  const base = adminBase(options.adminUrl);
  const key = options.adminKey.trim();
  const { tls } = options;
  const agents = {
    http: new HttpAgent({ keepAlive: true, maxSockets: options.concurrency }),
    https: new HttpsAgent({ keepAlive: true, maxSockets: options.concurrency }),
  };
  const client: Got = got.extend({
    agent: agents,
    // One layer of retries: the work queue.
    retry: { limit: 0 },
    // got would send the key along to wherever a redirect leads.
    followRedirect: false,
    throwHttpErrors: false,
    responseType: 'text',
    timeout: { request: options.requestTimeoutMs },
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
    async request({ method, path, body, expected }, signal) {
      signal.throwIfAborted();
      if (!/^[\x21-\x7e]+$/.test(key)) {
        throw new GatewayAuthError(
          key === ''
            ? 'The admin key is empty: write the key of the gateway into the Secret'
            : 'The admin key has characters that a key cannot have: look at the Secret for line breaks or an encoding',
        );
      }
      let response: Response<string>;
      try {
        response = (await client(new URL(path, base), {
          method,
          signal,
          headers: {
            'X-API-KEY': key,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        })) as Response<string>;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw unreachable(error, base, options.requestTimeoutMs);
      }
      const answer = { status: response.statusCode, version: versionOf(response.headers['server']) };
      if (response.body.length > MAX_ANSWER_BYTES) {
        throw new GatewayUnavailableError(`${base.origin} sent an answer that is too large`);
      }
      const parsed = parse(response.body);
      if (expected.includes(response.statusCode)) {
        if (parsed === undefined) {
          throw new GatewayUnavailableError(
            `${base.origin} answered ${response.statusCode} without JSON: is this the Admin API of APISIX?`,
          );
        }
        return { ...answer, body: parsed };
      }
      throw refused(response, parsed, base);
    },

    close() {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

function adminBase(adminUrl: string): URL {
  let url: URL;
  try {
    url = new URL(adminUrl);
  } catch {
    throw new Error('adminUrl is no URL: write for example http://apisix-admin.apisix:9180');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error('adminUrl must begin with http:// or https://');
  if (url.username !== '' || url.password !== '') {
    throw new Error('adminUrl must not contain credentials: the key belongs into the Secret');
  }
  const prefix = url.pathname.replace(/\/+$/, '').replace(/\/apisix\/admin$/, '');
  return new URL(`${prefix}${ADMIN_PATH}`, url.origin);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function versionOf(server: string | string[] | undefined): string | undefined {
  return /^APISIX\/(\d+\.\d+\.\d+)/.exec(String(server ?? ''))?.[1];
}

/** An answer that is no success, as what follows from it. */
function refused(response: Response<string>, parsed: unknown, base: URL): OperatorError {
  const { statusCode: status, headers } = response;
  const { data } = refusal.safeParse(parsed);
  const words = clean(data?.error_msg ?? data?.message ?? 'no reason given');
  const retryAfter = retryAfterMs(headers['retry-after']);
  if (status === 401) {
    const why = clean(data?.description ?? words);
    const remedy = why.includes('role viewer')
      ? 'the key may only read: use an admin key'
      : 'correct the key in the Secret that spec.apisix.adminKeySecretRef of the GatewayConnection names';
    return new GatewayAuthError(`The gateway refused the admin key (401, ${why}): ${remedy}`);
  }
  if (status === 403) {
    return new GatewayAuthError(
      "The gateway refused the operator's address (403): add it to deployment.admin.allow_admin in APISIX's configuration",
    );
  }
  if (status >= 300 && status < 400) {
    return new GatewayUnavailableError(
      `${base.origin} answered ${status}, a redirect, which is not followed with the key: correct spec.apisix.adminUrl`,
    );
  }
  if (status === 400 && words.startsWith('can not delete')) return new UpstreamInUseError(words);
  if (status === 400 || status === 413 || status === 422) {
    return new GatewayRejectedError(`The gateway refused the upstream (${status}): ${words}`);
  }
  if (status === 404) {
    return new GatewayUnavailableError(
      `${base.origin} answered 404: this does not look like the Admin API of APISIX on etcd; correct spec.apisix.adminUrl`,
    );
  }
  const reason = data === undefined ? 'and no JSON' : words;
  return new GatewayUnavailableError(`${base.origin} answered ${status}: ${reason}`, {
    retryAfterMs: retryAfter,
  });
}

/** Why a request brought no answer. got's own error is left behind: it holds the key and the body. */
function unreachable(error: unknown, base: URL, timeoutMs: number): GatewayUnavailableError {
  const where = base.origin;
  if (error instanceof TimeoutError)
    return new GatewayUnavailableError(`${where} did not answer within ${timeoutMs} ms`);
  const code = error instanceof RequestError ? error.code : undefined;
  const words: Record<string, string> = {
    ECONNREFUSED: 'refused the connection: is it running, and is the port right?',
    ECONNRESET: 'closed the connection',
    EPIPE: 'closed the connection',
    ENOTFOUND: 'is a name that does not resolve: correct spec.apisix.adminUrl',
    EAI_AGAIN: 'is a name that does not resolve now',
    EHOSTUNREACH: 'cannot be reached: is there a route or a NetworkPolicy in between?',
    ENETUNREACH: 'cannot be reached: is there a route or a NetworkPolicy in between?',
  };
  if (code !== undefined && words[code] !== undefined)
    return new GatewayUnavailableError(`${where} ${words[code]}`);
  if (code !== undefined && /CERT|SELF_SIGNED|ISSUER|VERIFY|ALTNAME/.test(code)) {
    return new GatewayUnavailableError(
      `${where} has a certificate that is not trusted (${code}): set spec.apisix.tls.caSecretRef or serverName of the GatewayConnection`,
    );
  }
  if (code !== undefined && /SSL|TLS|EPROTO/.test(code)) {
    return new GatewayUnavailableError(
      `TLS with ${where} failed (${code}): does it speak TLS, and does it ask for a client certificate (spec.apisix.tls)?`,
    );
  }
  return new GatewayUnavailableError(`${where} could not be reached (${code ?? 'no code'})`);
}

function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined;
}

/** Words from outside, fit for a condition: one line, bounded. */
function clean(words: string): string {
  const line = words.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim();
  return line.length > MAX_WORDS ? `${line.slice(0, MAX_WORDS - 3)}...` : line;
}
