import type { IncomingMessage } from 'node:http';
import { lines, plainMessage, readAll, refusal } from './api-answer.ts';
import { ApiConnection, type ApiConnectionOptions } from './api-connection.ts';
import { KubeApiError } from './kube-error.ts';
import { parseEvent, parseObject } from './large-object.ts';
import { parseList } from './list-items.ts';

export interface RequestSettings {
  readonly query?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** For the whole response. */
  readonly timeoutMs?: number;
  /** Parse the response with `parseList`, so that its `items` are parsed one by one. */
  readonly itemwise?: boolean;
  /** Maximum size of the response. A larger one rejects with `tooLarge`. */
  readonly maxBytes?: number;
  /** Maximum number of JSON values per object. `parseObject` parses only parts of a larger one. Default: no limit. */
  readonly maxValues?: number | undefined;
}

export interface SendRequest extends RequestSettings {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** Default: `application/json`. */
  readonly contentType?: string;
  /**
   * Do not parse the response, and resolve to undefined. The response to a write is the whole object, which may be large.
   */
  readonly ignoreAnswer?: boolean;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

export interface WatchSettings {
  readonly query: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly idleTimeoutMs: number;
  /** As in `RequestSettings`. */
  readonly maxValues?: number | undefined;
  /** Called when the API server has accepted the watch, which may be long before the first event. */
  readonly onOpen?: () => void;
}

/** Sends and receives JSON. Rejects with `KubeApiError`, or with the signal's reason if the signal aborts. */
export interface KubeTransport {
  get(path: string, settings: RequestSettings): Promise<unknown>;
  send(request: SendRequest): Promise<unknown>;
  /**
   * Ends when the API server closes the watch. Throws after `idleTimeoutMs` without data. Leaving the loop closes the
   * socket.
   */
  watch(path: string, settings: WatchSettings): AsyncIterable<WatchEvent>;
  close(): void;
}

export type TransportOptions = ApiConnectionOptions;

const DEFAULT_TIMEOUT_MS = 15_000;

export function createTransport(options: TransportOptions): KubeTransport {
  const connection = new ApiConnection(options);
  return {
    get: (path, settings) => request(connection, 'GET', path, settings),
    send: (settings) => request(connection, settings.method, settings.path, settings),
    watch: (path, settings) => watch(connection, path, settings),
    close: () => connection.close(),
  };
}

/** Sends one request and parses the whole response. */
async function request(
  connection: ApiConnection,
  method: string,
  path: string,
  settings: SendRequest | RequestSettings,
): Promise<unknown> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = settings;
  // `AbortSignal.timeout` cannot be canceled: the timer of every request would stay and create an error when it fires.
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  const signal = AbortSignal.any([settings.signal, timeout.signal]);
  try {
    const response = await connection.open({
      method,
      path,
      query: settings.query ?? {},
      signal,
      ...('body' in settings ? { body: settings.body } : {}),
      ...('contentType' in settings && settings.contentType !== undefined
        ? { contentType: settings.contentType }
        : {}),
    });
    const text = await readAll(response, signal, settings.maxBytes);
    if (response.statusCode === undefined || response.statusCode >= 300) throw refusal(response, text);
    if ('ignoreAnswer' in settings && settings.ignoreAnswer === true) return undefined;
    const { itemwise = false, maxValues = Number.POSITIVE_INFINITY } = settings;
    return itemwise ? parseList(text, maxValues) : parseObject(text, maxValues);
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
}

/** The events of one watch, until the API server closes it. */
async function* watch(
  connection: ApiConnection,
  path: string,
  { query, signal, idleTimeoutMs, onOpen, maxValues = Number.POSITIVE_INFINITY }: WatchSettings,
): AsyncGenerator<WatchEvent, void, undefined> {
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(), idleTimeoutMs);
  const both = AbortSignal.any([signal, idle.signal]);
  let response: IncomingMessage | undefined;
  try {
    response = await connection.open({
      method: 'GET',
      path,
      query: { ...query, watch: 'true' },
      signal: both,
    });
    if (response.statusCode !== 200) throw refusal(response, await readAll(response, both));
    onOpen?.();
    for await (const line of lines(response, () => timer.refresh())) {
      // One chunk may contain many events. Stop at an abort.
      signal.throwIfAborted();
      const { type, object } = parseEvent(line, maxValues);
      if (typeof type !== 'string') throw new KubeApiError('the API server sent an invalid watch event');
      yield { type, object };
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (idle.signal.aborted)
      throw new KubeApiError(`the watch received no data for ${idleTimeoutMs} ms`, { silent: true });
    throw error instanceof KubeApiError ? error : new KubeApiError(`the watch broke: ${plainMessage(error)}`);
  } finally {
    clearTimeout(timer);
    response?.destroy();
  }
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

/** The URL path of a resource. Throws if a part contains characters that would change the structure of the path. */
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
      throw new Error(`invalid part of a resource path: ${JSON.stringify(part)}`);
  }
  return `/${parts.join('/')}`;
}
