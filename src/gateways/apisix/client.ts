import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import {
  GatewayAuthError,
  GatewayRejectedError,
  GatewayUnavailableError,
  OperatorError,
  UpstreamInUseError,
  WriteForbiddenError,
} from '../../core/errors.ts';
import { keyPairProblem } from '../../core/key-pair.ts';
import { shorten } from '../../core/status.ts';
import { closeHttpAgents, createHttpAgents } from './http-agents.ts';
import {
  type HttpAnswer,
  type ListAnswer,
  MAX_LIST_BYTES,
  NoAnswerError,
  type TlsSettings,
} from './http-answer.ts';
import { createHttpClient } from './http-client.ts';
import { createHttpWriter } from './http-writer.ts';
import { ItemScanner, NoJsonError, NoObjectsError } from './item-scanner.ts';

export interface ApisixOptions {
  /** `http(s)://host:port`, with or without a path before, or with, `/apisix/admin`. */
  readonly adminUrl: string;
  readonly adminKey: string;
  readonly tls: TlsSettings;
  /** Connections at once. */
  readonly concurrency: number;
  readonly requestTimeoutMs: number;
  /** Asked right before every request that writes: a deletion asks for references first, and time may pass in between. */
  readonly mayWrite?: () => boolean;
}

export interface ApisixAnswer {
  readonly status: number;
  readonly body: unknown;
  /** From the `Server` header. */
  readonly version: string | undefined;
}

export interface ApisixRequest {
  readonly method: 'GET' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below `/apisix/admin/`. */
  readonly path: string;
  readonly body?: object;
  /** Statuses that mean something to the caller and are not errors. */
  readonly expected: readonly number[];
}

/** The Admin API with one place where its answers become errors. Rejects with `OperatorError`s only, or the abort's reason. */
export interface ApisixClient {
  request(request: ApisixRequest, signal: AbortSignal): Promise<ApisixAnswer>;
  /**
   * GET of a list without pages, whose items are given to `take` as JSON while they arrive. The body of an answer of status
   * 200 is the list with no items in it.
   */
  list(
    request: Pick<ApisixRequest, 'path' | 'expected'>,
    take: (item: Buffer) => void,
    signal: AbortSignal,
  ): Promise<ApisixAnswer>;
  close(): void;
}

/** Words of APISIX 3.18, measured. */
const OVERTAKEN = 'value changed before overwritten';
const MAX_WORDS = 512;
const MAX_RETRY_AFTER_MS = 300_000;
const MAX_CONNECT_MS = 5000;
const ADMIN_PATH = '/apisix/admin/';

const words = z.string().optional().catch(undefined);
const refusal = z.object({ error_msg: words, message: words, description: words });

/** Throws an `Error` that says what is wrong with the options. */
export function createApisixClient(options: ApisixOptions): ApisixClient {
  const base = adminBase(options.adminUrl);
  const key = options.adminKey.trim();
  const { tls } = options;
  checkCertificates(tls);
  const agents = createHttpAgents(tls, options.concurrency);
  const connectTimeoutMs = Math.min(MAX_CONNECT_MS, options.requestTimeoutMs);
  const client = createHttpClient(agents, connectTimeoutMs);
  const writer = createHttpWriter(base, agents, connectTimeoutMs);

  const settings = () => {
    if (!/^[\x20-\x7e]+$/.test(key)) {
      throw new GatewayAuthError(
        key === ''
          ? 'The admin key is empty: write the key of the gateway into the Secret'
          : 'The admin key has characters that a key cannot have: look at the Secret for line breaks or an encoding',
      );
    }
    return { timeoutMs: options.requestTimeoutMs, headers: { 'X-API-KEY': key } };
  };
  const send = async <T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> => {
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof OperatorError ? error : unreachable(error, base);
    }
  };
  const answerOf = (
    { method, expected }: Pick<ApisixRequest, 'method' | 'expected'>,
    response: HttpAnswer,
  ): ApisixAnswer => {
    const body = parse(response.body);
    if (!expected.includes(response.statusCode)) throw refused(method, response, body, { base, key });
    if (body === undefined) throw withoutJson(base, response.statusCode);
    return { status: response.statusCode, body, version: versionOf(response.headers['server']) };
  };

  return {
    async request({ method, path, body, expected }, signal) {
      signal.throwIfAborted();
      if (method !== 'GET' && options.mayWrite?.() === false) throw new WriteForbiddenError();
      const common = settings();
      const response = await send(
        () =>
          method === 'PUT' || method === 'PATCH'
            ? writer.send({ ...common, method, path, body: body ?? {} }, signal)
            : client.send(new URL(path, base), { ...common, method }, signal),
        signal,
      );
      return answerOf({ method, expected }, response);
    },

    async list({ path, expected }, take, signal) {
      signal.throwIfAborted();
      const common = settings();
      const scanner = new ItemScanner('list', take);
      const response: HttpAnswer | ListAnswer = await send(
        () => client.list(new URL(path, base), common, scanner, signal),
        signal,
      );
      if ('body' in response) return answerOf({ method: 'GET', expected }, response);
      return { status: 200, body: response.rest, version: versionOf(response.headers['server']) };
    },

    close: () => closeHttpAgents(agents),
  };
}

export function noList(): GatewayUnavailableError {
  return new GatewayUnavailableError(
    'the gateway answered with something that is no list of the Admin API of APISIX',
  );
}

function withoutJson(base: URL, status: number): GatewayUnavailableError {
  return new GatewayUnavailableError(
    `${base.origin} answered ${status} without JSON: is this the Admin API of APISIX?`,
  );
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
  const base = new URL(url.origin);
  base.pathname = url.pathname.replace(/\/+$/, '').replace(/\/apisix\/admin$/, '') + ADMIN_PATH;
  return base;
}

/** Node takes an authority that is no certificate for none, and finds a wrong key with the first connection only. */
function checkCertificates({ ca, clientCert, clientKey }: ApisixOptions['tls']): void {
  if (ca !== undefined) {
    const blocks = ca.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? [''];
    if (!blocks.every((block) => succeeds(() => new X509Certificate(block)))) {
      throw new Error('the Secret of spec.apisix.tls.caSecretRef holds something that is no PEM certificate');
    }
  }
  if (clientCert === undefined && clientKey === undefined) return;
  const pair = 'the Secret of spec.apisix.tls.clientCertificateSecretRef';
  if (clientCert === undefined || clientKey === undefined) {
    throw new Error(`${pair} needs both a certificate and its key`);
  }
  const problem = keyPairProblem({ certificate: clientCert, key: clientKey });
  if (problem !== undefined) throw new Error(`${pair} holds ${problem}`);
}

function succeeds(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
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
function refused(
  method: ApisixRequest['method'],
  response: HttpAnswer,
  parsed: unknown,
  { base, key }: { readonly base: URL; readonly key: string },
): OperatorError {
  const { statusCode: status, headers } = response;
  const { data } = refusal.safeParse(parsed);
  // A server that is no gateway may answer with what it was sent.
  const clean = (text: string) => oneLine(text.replaceAll(key, '[redacted]'));
  const given = data?.error_msg ?? data?.message ?? 'no reason given';
  const reason = clean(given);
  const where = base.origin;
  if (status === 401) {
    const why = data?.description ?? given;
    const remedy = why.includes('role viewer')
      ? 'the key may only read: use an admin key'
      : 'correct the key in the Secret that spec.apisix.adminKeySecretRef of the GatewayConnection names';
    return new GatewayAuthError(`The gateway refused the admin key (401, ${clean(why)}): ${remedy}`);
  }
  if (status === 403) {
    return new GatewayAuthError(
      "The gateway refused the operator's address (403): add it to deployment.admin.allow_admin in APISIX's configuration",
    );
  }
  if (status >= 300 && status < 400) {
    return new GatewayUnavailableError(
      `${where} answered ${status}, a redirect, which is not followed with the key: correct spec.apisix.adminUrl`,
    );
  }
  if (status === 404) {
    return new GatewayUnavailableError(
      `${where} answered 404: this does not look like the Admin API of APISIX on etcd; correct spec.apisix.adminUrl`,
    );
  }
  if (status === 413 && method !== 'GET') {
    return new GatewayRejectedError(`The gateway refused the upstream (413): it is too large (${reason})`);
  }
  if (status === 400 && response.body.includes('plain HTTP request was sent to HTTPS port')) {
    return new GatewayUnavailableError(`${where} speaks TLS: write https:// in spec.apisix.adminUrl`);
  }
  if (data === undefined) {
    return new GatewayUnavailableError(
      `${where} answered ${status} without JSON${status < 500 ? ': is this the Admin API of APISIX?' : ''}`,
      { retryAfterMs: retryAfterMs(headers['retry-after']) },
    );
  }
  if (method === 'DELETE' && status === 400 && given.startsWith('can not delete')) {
    return new UpstreamInUseError(reason);
  }
  // A read has no object that could be refused.
  if (method !== 'GET' && (status === 400 || status === 422)) {
    return new GatewayRejectedError(
      `The gateway refused the upstream (${status}, ${reason}): correct what it names in the spec`,
    );
  }
  // APISIX compares and sets: somebody else wrote the same upstream in between.
  if (status === 503 && given === OVERTAKEN) {
    return new GatewayUnavailableError(
      'Somebody else changed the upstream in the gateway at the same moment: it is written again',
    );
  }
  return new GatewayUnavailableError(
    `${where} answered ${status} (${reason}): look at the log of the gateway`,
    {
      retryAfterMs: retryAfterMs(headers['retry-after']),
    },
  );
}

const NO_ANSWER: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection: is it running, and is the port right?',
  ENOTFOUND: 'is a name that does not resolve: correct spec.apisix.adminUrl',
  EAI_AGAIN: 'is a name that does not resolve now: is the DNS of the cluster working?',
  EHOSTUNREACH: 'cannot be reached: is there a route, or a NetworkPolicy in between?',
  ENETUNREACH: 'cannot be reached: is there a route, or a NetworkPolicy in between?',
  ETIMEDOUT: 'cannot be reached: is there a route, or a NetworkPolicy in between?',
};

/** Why a request brought no answer. */
function unreachable(error: unknown, base: URL): GatewayUnavailableError {
  if (error instanceof NoObjectsError) return noList();
  if (error instanceof NoJsonError) return withoutJson(base, 200);
  if (!(error instanceof NoAnswerError)) throw error;
  const where = base.origin;
  const { why } = error;
  if (why.kind === 'tooLarge') {
    const mebibytes = why.maxBytes / (1024 * 1024);
    return new GatewayUnavailableError(
      why.maxBytes === MAX_LIST_BYTES
        ? `${where} lists more than ${mebibytes} MiB of upstreams, more than the operator can keep: delete those that nothing uses, or divide them between gateways`
        : `${where} sent an answer of more than ${mebibytes} MiB: is this the Admin API of APISIX?`,
    );
  }
  if (why.kind === 'timeout') {
    return new GatewayUnavailableError(
      why.phase === 'answer'
        ? `${where} did not answer within ${why.ms} ms: is it overloaded, or requestTimeout in the operator's configuration too short?`
        : `${where} could not be connected to within ${why.ms} ms (${why.at}): is the address right, or a NetworkPolicy in between?`,
    );
  }
  const { code } = why;
  if (why.isHalf) {
    return new GatewayUnavailableError(`${where} closed the connection in the middle of its answer`);
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    const question =
      base.protocol === 'https:'
        ? 'does it take the client certificate of spec.apisix.tls.clientCertificateSecretRef?'
        : 'should spec.apisix.adminUrl begin with https://?';
    return new GatewayUnavailableError(
      `${where} closed the connection without an answer: is the port right, and ${question}`,
    );
  }
  const known = NO_ANSWER[code];
  if (known !== undefined) return new GatewayUnavailableError(`${where} ${known}`);
  if (code.includes('ALERT')) {
    return new GatewayUnavailableError(
      `${where} refused TLS with this operator (${code}): does it ask for a client certificate (spec.apisix.tls.clientCertificateSecretRef)?`,
    );
  }
  if (code === 'CERT_HAS_EXPIRED') {
    return new GatewayUnavailableError(
      `${where} has a certificate that has expired: renew it, or the authority in spec.apisix.tls.caSecretRef`,
    );
  }
  if (/CERT|SELF_SIGNED|ISSUER|VERIFY|ALTNAME/.test(code)) {
    return new GatewayUnavailableError(
      `${where} has a certificate that is not trusted (${code}): set caSecretRef or serverName in spec.apisix.tls of the GatewayConnection`,
    );
  }
  if (/SSL|TLS|EPROTO/.test(code)) {
    return new GatewayUnavailableError(
      `TLS with ${where} failed (${code}): does it speak TLS, or should spec.apisix.adminUrl begin with http://?`,
    );
  }
  if (code.startsWith('HPE_')) {
    return new GatewayUnavailableError(
      `${where} answered in something that is no HTTP (${code}): correct spec.apisix.adminUrl`,
    );
  }
  return new GatewayUnavailableError(`${where} gave no answer that can be used (${code})`);
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3) as milliseconds from now. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header)
    ? Number(header) * 1000
    : / GMT$/.test(header)
      ? Date.parse(header) - Date.now()
      : Number.NaN;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

/** Words from outside, fit for a condition: one line, bounded. */
function oneLine(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return shorten(line, MAX_WORDS).toWellFormed();
}
