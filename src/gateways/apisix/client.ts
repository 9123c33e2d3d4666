import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { keyPairProblem } from '../../decide/key-pair.ts';
import { shorten } from '../../decide/status.ts';
import {
  GatewayAuthError,
  GatewayRejectedError,
  GatewayUnavailableError,
  OperatorError,
  UpstreamInUseError,
  WriteForbiddenError,
} from '../../model/errors.ts';
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
const CORRECT_URL = 'correct spec.apisix.adminUrl';
const EXPECT_ADMIN_API = 'check that spec.apisix.adminUrl leads to the Admin API of APISIX';
const READ_LOG = 'look at the log of the gateway';
const CHECK_NETWORK = 'check the route to it, and the NetworkPolicies in between';

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
      throw key === ''
        ? new GatewayAuthError('The admin key is empty', {
            remedy: 'write the key of the gateway into the Secret',
          })
        : new GatewayAuthError('The admin key has characters that a key cannot have', {
            remedy: 'look at the Secret for line breaks or an encoding',
          });
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
  return new GatewayUnavailableError('the gateway answered with something that is no list', {
    remedy: EXPECT_ADMIN_API,
  });
}

function withoutJson(base: URL, status: number): GatewayUnavailableError {
  return new GatewayUnavailableError(`${base.origin} answered ${status} without JSON`, {
    remedy: EXPECT_ADMIN_API,
  });
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
    const problem = `The gateway refused the admin key (401, ${clean(why)})`;
    return why.includes('role viewer')
      ? new GatewayAuthError(`${problem}, which may only read`, { remedy: 'use a key of role admin', status })
      : new GatewayAuthError(problem, {
          remedy:
            'correct the key in the Secret that spec.apisix.adminKeySecretRef of the GatewayConnection names',
          status,
        });
  }
  if (status === 403) {
    // APISIX checks allow_admin before it looks at the method: an address that may read may write.
    return method === 'GET'
      ? new GatewayAuthError("The gateway refused the operator's address (403)", {
          remedy: "add it to deployment.admin.allow_admin in APISIX's configuration",
          status,
        })
      : new GatewayAuthError(`${where} refused the ${method} request (403)`, {
          remedy:
            'allow GET, PUT, PATCH and DELETE from the operator in the proxy or firewall in front of the Admin API',
          status,
        });
  }
  if (status >= 300 && status < 400) {
    return new GatewayUnavailableError(
      `${where} answered ${status}, a redirect, which the operator does not follow with the key`,
      { remedy: CORRECT_URL },
    );
  }
  if (status === 404) {
    return new GatewayUnavailableError(
      `${where} answered 404, which the Admin API of APISIX on etcd does not`,
      { remedy: CORRECT_URL },
    );
  }
  if (status === 413 && method !== 'GET') {
    return new GatewayRejectedError(`The gateway refused the upstream (413): it is too large (${reason})`, {
      remedy: 'remove backends, labels or overrides, or raise the limit of the gateway',
    });
  }
  if (status === 400 && response.body.includes('plain HTTP request was sent to HTTPS port')) {
    return new GatewayUnavailableError(`${where} speaks TLS`, {
      remedy: 'write https:// in spec.apisix.adminUrl',
    });
  }
  if (data === undefined) {
    return new GatewayUnavailableError(`${where} answered ${status} without JSON`, {
      remedy: status < 500 ? EXPECT_ADMIN_API : READ_LOG,
      retryAfterMs: retryAfterMs(headers['retry-after']),
    });
  }
  if (method === 'DELETE' && status === 400 && given.startsWith('can not delete')) {
    return new UpstreamInUseError(reason);
  }
  // A read has no object that could be refused.
  if (method !== 'GET' && (status === 400 || status === 422)) {
    return new GatewayRejectedError(`The gateway refused the upstream (${status}, ${reason})`, {
      remedy: 'correct what it names in the spec',
    });
  }
  // APISIX compares and sets: another client wrote the same upstream in between.
  if (status === 503 && given === OVERTAKEN) {
    return new GatewayUnavailableError(
      'Another client changed the upstream in the gateway at the same moment, and the operator writes it again',
    );
  }
  return new GatewayUnavailableError(`${where} answered ${status} (${reason})`, {
    remedy: READ_LOG,
    retryAfterMs: retryAfterMs(headers['retry-after']),
  });
}

const NO_ANSWER: Readonly<Record<string, readonly [problem: string, remedy: string]>> = {
  ECONNREFUSED: ['refused the connection', 'check that it runs, and that the port is right'],
  ENOTFOUND: ['is a name that does not resolve', CORRECT_URL],
  EAI_AGAIN: ['is a name that does not resolve at the moment', 'check the DNS of the cluster'],
  EHOSTUNREACH: ['cannot be reached', CHECK_NETWORK],
  ENETUNREACH: ['cannot be reached', CHECK_NETWORK],
  ETIMEDOUT: ['cannot be reached', CHECK_NETWORK],
};

/** Why a request brought no answer. */
function unreachable(error: unknown, base: URL): GatewayUnavailableError {
  if (error instanceof NoObjectsError) return noList();
  if (error instanceof NoJsonError) return withoutJson(base, 200);
  if (!(error instanceof NoAnswerError)) throw error;
  const [problem, remedy] = whyUnreachable(error.why, base);
  return new GatewayUnavailableError(problem, { remedy });
}

function whyUnreachable(why: NoAnswerError['why'], base: URL): readonly [problem: string, remedy: string] {
  const where = base.origin;
  if (why.kind === 'tooLarge') {
    const mebibytes = why.maxBytes / (1024 * 1024);
    return why.maxBytes === MAX_LIST_BYTES
      ? [
          `${where} lists more than ${mebibytes} MiB of upstreams, more than the operator can keep`,
          'delete those that nothing uses, or divide them between gateways',
        ]
      : [`${where} sent an answer of more than ${mebibytes} MiB`, EXPECT_ADMIN_API];
  }
  if (why.kind === 'timeout') {
    return why.phase === 'answer'
      ? [
          `${where} did not answer within ${why.ms} ms`,
          "check its load, or raise requestTimeout in the operator's configuration",
        ]
      : [
          `${where} could not be connected to within ${why.ms} ms (${why.at})`,
          'check its address, and the NetworkPolicies in between',
        ];
  }
  const { code } = why;
  if (why.isHalf) return [`${where} closed the connection in the middle of its answer`, READ_LOG];
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return [
      `${where} closed the connection without an answer`,
      base.protocol === 'https:'
        ? 'check the port, and whether the gateway accepts the client certificate of spec.apisix.tls.clientCertificateSecretRef'
        : 'check the port, and whether spec.apisix.adminUrl must begin with https://',
    ];
  }
  const known = NO_ANSWER[code];
  if (known !== undefined) return [`${where} ${known[0]}`, known[1]];
  return whyNoTls(code, where) ?? [`${where} gave no usable answer (${code})`, READ_LOG];
}

/** For a connection that failed in TLS or in HTTP. */
function whyNoTls(code: string, where: string): readonly [problem: string, remedy: string] | undefined {
  if (code.includes('ALERT')) {
    return [
      `${where} refused TLS with this operator (${code})`,
      'if it asks for a client certificate, set spec.apisix.tls.clientCertificateSecretRef',
    ];
  }
  if (code === 'CERT_HAS_EXPIRED') {
    return [
      `${where} has a certificate that has expired`,
      'renew it, or the authority in spec.apisix.tls.caSecretRef',
    ];
  }
  if (/CERT|SELF_SIGNED|ISSUER|VERIFY|ALTNAME/.test(code)) {
    return [
      `${where} has a certificate that is not trusted (${code})`,
      'set caSecretRef or serverName in spec.apisix.tls of the GatewayConnection',
    ];
  }
  if (/SSL|TLS|EPROTO/.test(code)) {
    return [
      `TLS with ${where} failed (${code})`,
      'check that it speaks TLS, or write http:// in spec.apisix.adminUrl',
    ];
  }
  if (code.startsWith('HPE_')) return [`${where} gave an answer that is not HTTP (${code})`, CORRECT_URL];
  return undefined;
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
