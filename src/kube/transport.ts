import http, { type IncomingMessage } from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { retryAfterMs } from '../runtime/http/retry-after.ts';
import { isObject } from '../runtime/json.ts';
import { KubeApiError } from './kube-error.ts';
import { splitItems } from './list-items.ts';

export interface RequestSettings {
  readonly query?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** For the whole answer. */
  readonly timeoutMs?: number;
  /** The answer is a list: its `items` are `ListItems` where it is written as the API server writes one. */
  readonly itemwise?: boolean;
}

/** Each is parsed when it is asked for. Throws `KubeApiError` at one that is no JSON. */
export class ListItems implements Iterable<unknown> {
  readonly #texts: readonly string[];

  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  *[Symbol.iterator](): Iterator<unknown> {
    for (const text of this.#texts) yield parse(text);
  }
}

export interface SendRequest extends RequestSettings {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** Default: `application/json`. */
  readonly contentType?: string;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

/** Raw JSON to and from the API server. Every failure is a `KubeApiError`; an abort rejects with the signal's reason. */
export interface KubeTransport {
  get(path: string, settings: RequestSettings): Promise<unknown>;
  send(request: SendRequest): Promise<unknown>;
  /** Ends when the server closes; fails after `idleTimeoutMs` without a byte. Closes its socket when left early. */
  watch(
    path: string,
    settings: {
      readonly query: Readonly<Record<string, string>>;
      readonly signal: AbortSignal;
      readonly idleTimeoutMs: number;
      /** Called when the server has accepted the watch, which may be long before its first event. */
      readonly onOpen?: () => void;
    },
  ): AsyncIterable<WatchEvent>;
  close(): void;
}

export interface TransportOptions {
  readonly kubeConfig: KubeConfig;
  readonly userAgent: string;
  /** Reads the kubeconfig anew, after a 401: the token in it may be another one by now. */
  readonly reload?: () => KubeConfig;
  /** The API server refused a request for this path with 401 or 403. */
  readonly onRefused?: (path: string) => void;
}

const DEFAULT_TIMEOUT_MS = 15_000;
const MAX_LINE = 32 * 1024 * 1024;
const MAX_MESSAGE = 512;
/** A list page of 500 objects of the largest size that etcd takes would be larger, and is none of ours. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
/** What does not say why within this much is not from the API server itself. */
const MAX_REFUSAL_BYTES = 1024 * 1024;
/** Idle connections are closed before common load balancers (60 s) drop them without a word. */
const IDLE_SOCKET_MS = 45_000;

export function createTransport({
  kubeConfig,
  userAgent,
  reload,
  onRefused,
}: TransportOptions): KubeTransport {
  let config = kubeConfig;
  let pool: { readonly key: string; readonly agent: https.Agent | http.Agent } | undefined;

  /** One agent for as long as the certificates are the same: client-node makes one per request. */
  const agentFor = (secure: boolean, tls: RequestOptions): https.Agent | http.Agent => {
    const { ca, cert, key, servername, rejectUnauthorized } = tls;
    const material = JSON.stringify([
      secure,
      String(ca),
      String(cert),
      String(key),
      servername,
      rejectUnauthorized,
    ]);
    if (pool?.key !== material) {
      // The agent before is left to what it carries: watches and writes under way outlive a rotation.
      const keep = { keepAlive: true, timeout: IDLE_SOCKET_MS };
      pool = {
        key: material,
        agent: secure ? new https.Agent({ ...keep, ...definedTls(tls) }) : new http.Agent(keep),
      };
    }
    return pool.agent;
  };

  const open = async (
    method: string,
    path: string,
    settings: {
      readonly query: Readonly<Record<string, string>>;
      readonly signal: AbortSignal;
      readonly body?: unknown;
      readonly contentType?: string;
    },
  ): Promise<IncomingMessage> => {
    settings.signal.throwIfAborted();
    const { server, proxyUrl } = config.getCurrentCluster() ?? {};
    if (server === undefined) throw new KubeApiError('the kubeconfig names no cluster');
    if (proxyUrl !== undefined)
      throw new KubeApiError('the kubeconfig names a proxy-url, which is not supported');
    const tls: RequestOptions = {};
    try {
      // A credential plugin is a program of somebody else's, and client-node would wait for it for ever.
      await unlessAborted(config.applyToHTTPSOptions(tls), settings.signal);
    } catch (error) {
      settings.signal.throwIfAborted();
      // A SyntaxError quotes what the plugin printed: a credential.
      const why = error instanceof SyntaxError ? 'the plugin printed no JSON' : plainMessage(error);
      throw new KubeApiError(`the credentials for the API server cannot be read: ${why}`);
    }
    const base = new URL(server);
    const url = new URL(`${base.pathname.replace(/\/$/, '')}${path}`, base);
    url.search = new URLSearchParams(settings.query).toString();
    const secure = url.protocol === 'https:';
    const payload = settings.body === undefined ? undefined : JSON.stringify(settings.body);
    const headers: Record<string, string> = {
      Accept: 'application/json',
      'User-Agent': userAgent,
      ...(tls.headers as Record<string, string> | undefined),
    };
    if (payload !== undefined) {
      headers['Content-Type'] = settings.contentType ?? 'application/json';
      headers['Content-Length'] = String(Buffer.byteLength(payload));
    }
    return await new Promise((resolve, reject) => {
      const { auth } = tls;
      const request = (secure ? https : http).request(
        url,
        {
          method,
          headers,
          agent: agentFor(secure, tls),
          signal: settings.signal,
          ...(typeof auth === 'string' ? { auth } : {}),
        },
        (response) => {
          if (response.statusCode === 401) config = withFreshCredentials(kubeConfig, reload);
          if (response.statusCode === 401 || response.statusCode === 403) onRefused?.(path);
          resolve(response);
        },
      );
      // Not `once`: a second error without a listener would end the process.
      request.on('error', (error) =>
        reject(
          settings.signal.aborted
            ? settings.signal.reason
            : new KubeApiError(`the API server could not be reached: ${plainMessage(error)}`),
        ),
      );
      request.end(payload);
    });
  };

  const request = async (
    method: string,
    path: string,
    settings: SendRequest | RequestSettings,
  ): Promise<unknown> => {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = settings;
    // `AbortSignal.timeout` cannot be ended: every request would leave a timer behind that makes an error in the end.
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), timeoutMs);
    const signal = AbortSignal.any([settings.signal, timeout.signal]);
    try {
      const response = await open(method, path, {
        query: settings.query ?? {},
        signal,
        ...('body' in settings ? { body: settings.body } : {}),
        ...('contentType' in settings && settings.contentType !== undefined
          ? { contentType: settings.contentType }
          : {}),
      });
      const text = await readAll(response, signal);
      if (response.statusCode === undefined || response.statusCode >= 300) throw refusal(response, text);
      return settings.itemwise === true ? parseList(text) : parse(text);
    } catch (error) {
      if (settings.signal.aborted) throw settings.signal.reason;
      if (timeout.signal.aborted)
        throw new KubeApiError(`the API server did not answer within ${timeoutMs} ms`, { silent: true });
      throw error instanceof KubeApiError
        ? error
        : new KubeApiError(`the request to the API server failed: ${plainMessage(error)}`);
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    get: (path, settings) => request('GET', path, settings),
    send: (settings) => request(settings.method, settings.path, settings),

    async *watch(path, { query, signal, idleTimeoutMs, onOpen }) {
      const idle = new AbortController();
      const timer = setTimeout(() => idle.abort(), idleTimeoutMs);
      const both = AbortSignal.any([signal, idle.signal]);
      let response: IncomingMessage | undefined;
      try {
        response = await open('GET', path, { query: { ...query, watch: 'true' }, signal: both });
        if (response.statusCode !== 200) throw refusal(response, await readAll(response, both));
        onOpen?.();
        for await (const line of lines(response, () => timer.refresh())) {
          // One chunk may hold many events: those after an abort are nobody's any more.
          signal.throwIfAborted();
          const event = parse(line) as Partial<WatchEvent> | null;
          if (typeof event?.type !== 'string')
            throw new KubeApiError('a watch sent something that is no event');
          yield { type: event.type, object: event.object };
        }
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (idle.signal.aborted)
          throw new KubeApiError(`the watch was silent for ${idleTimeoutMs} ms`, { silent: true });
        throw error instanceof KubeApiError
          ? error
          : new KubeApiError(`the watch broke: ${plainMessage(error)}`);
      } finally {
        clearTimeout(timer);
        response?.destroy();
      }
    },

    close() {
      pool?.agent.destroy();
      pool = undefined;
    },
  };
}

export interface ResourceAddress {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/** The path of a resource. Every part is checked: none can leave its place in the path. Throws for one that would. */
export function resourcePath({
  group,
  version,
  plural,
  namespace,
  name,
  subresource,
}: ResourceAddress): string {
  const parts = group === '' ? ['api', version] : ['apis', group, version];
  if (namespace !== undefined) parts.push('namespaces', namespace);
  parts.push(plural);
  if (name !== undefined) parts.push(name);
  if (subresource !== undefined) parts.push(subresource);
  for (const part of parts) {
    if (!/^[a-zA-Z0-9][a-zA-Z0-9.:_-]*$/.test(part))
      throw new Error(`not a part of a resource path: ${JSON.stringify(part)}`);
  }
  return `/${parts.join('/')}`;
}

/**
 * After a 401. client-node 2.0.1 keeps a token file for 60 s and an exec plugin's token until it expires, for ever
 * where it names no expiry, and has no way to forget them but a KubeConfig of its own.
 */
function withFreshCredentials(kubeConfig: KubeConfig, reload: TransportOptions['reload']): KubeConfig {
  try {
    if (reload !== undefined) return reload();
  } catch {
    // Not there or half written just now: what was read before is all there is.
  }
  const { clusters, users, contexts, currentContext } = kubeConfig;
  const fresh = new KubeConfig();
  fresh.loadFromOptions({ clusters, users, contexts, currentContext });
  return fresh;
}

function definedTls({
  ca,
  cert,
  key,
  servername,
  rejectUnauthorized,
  pfx,
  passphrase,
}: RequestOptions): https.AgentOptions {
  return Object.fromEntries(
    Object.entries({ ca, cert, key, servername, rejectUnauthorized, pfx, passphrase }).filter(
      ([, value]) => value !== undefined,
    ),
  );
}

/** What `promise` comes to, or the signal's reason if it aborts first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function readAll(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const isRefusal = response.statusCode === undefined || response.statusCode >= 300;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      if (isRefusal && bytes > MAX_REFUSAL_BYTES) break;
      if (bytes > MAX_ANSWER_BYTES) throw new Error('it is too large');
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new KubeApiError(`the answer of the API server broke off: ${plainMessage(error)}`);
  }
  return decode(new TextDecoder('utf-8', { fatal: true }), Buffer.concat(chunks));
}

/** Lines over chunk boundaries, also where those split a character; `onBytes` for every chunk. */
async function* lines(response: IncomingMessage, onBytes: () => void): AsyncIterable<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for await (const chunk of response) {
    onBytes();
    const text = decode(decoder, chunk as Buffer, { stream: true });
    let from = 0;
    // Only what is new is searched: searching the rest again would make a long line cost its square.
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      const line = rest + text.slice(from, end);
      rest = '';
      from = end + 1;
      if (line !== '') yield line;
    }
    rest += text.slice(from);
    if (rest.length > MAX_LINE) throw new KubeApiError('a watch sent a line that is too long');
  }
  if (rest !== '') throw new KubeApiError('a watch ended in the middle of an event');
}

/** Text with a character replaced would be another name, or another address. */
function decode(
  decoder: InstanceType<typeof TextDecoder>,
  bytes: Buffer,
  options?: { readonly stream: boolean },
): string {
  try {
    return decoder.decode(bytes, options);
  } catch {
    throw new KubeApiError('the API server sent something that is no UTF-8');
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new KubeApiError('the API server sent something that is no JSON');
  }
}

function parseList(text: string): unknown {
  const split = splitItems(text);
  if (split === undefined) return parse(text);
  const list = parse(split.rest);
  return isObject(list) ? { ...list, items: new ListItems(split.items) } : list;
}

function refusal(response: IncomingMessage, text: string): KubeApiError {
  let status: { readonly message?: unknown; readonly reason?: unknown } = {};
  try {
    status = (JSON.parse(text) ?? {}) as typeof status;
  } catch {
    // Not from the API server itself, e.g. HTML of a load balancer: the status code says enough.
  }
  const words = typeof status.message === 'string' ? status.message.slice(0, MAX_MESSAGE) : 'no reason given';
  return new KubeApiError(`the API server answered ${response.statusCode}: ${words}`, {
    status: response.statusCode,
    kubeReason: typeof status.reason === 'string' ? status.reason : undefined,
    retryAfterMs: retryAfterMs(response.headers['retry-after']),
  });
}

function plainMessage(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason';
  const code = (error as NodeJS.ErrnoException).code;
  const message = error.message.slice(0, MAX_MESSAGE);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
