import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../monotonic.ts';
import { type Answer, createAdminApi, MAX_BODY_BYTES } from './admin-api.ts';
import { createControlApi } from './control-api.ts';
import { createDataPlane } from './data-plane.ts';
import { type ListenerOptions, startListener } from './listener.ts';
import { createStore, type JsonObject, type SavedStore, type StoreReader } from './store.ts';
import { storesDefaults } from './versions.ts';
import { createWorker } from './worker.ts';

/** The options of a stand-in. All are optional. */
export interface StandInOptions {
  /** Default: `stand-in-admin-key-0123456789`. */
  readonly adminKey?: string;
  /** The key of the read-only role. Default: `stand-in-viewer-key-0123456789`. */
  readonly viewerKey?: string;
  /** PEM, for the Admin API only. With `clientCa`, clients need a certificate. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly clientCa?: string };
  /** The version in the `Server` header, which determines the accepted fields. Default: `3.18.0`. */
  readonly version?: string;
  /** Whether defaults (`type`, `scheme`, `hash_on`, ...) are stored and returned. Default: like the version. */
  readonly storesDefaults?: boolean;
  /** The address that all servers listen on. Default: 127.0.0.1. */
  readonly host?: string;
  /** The port of the Admin API. Default: 0, a free port below 32768. */
  readonly port?: number;
  readonly proxyPort?: number;
  readonly controlPort?: number;
  /** Seconds since 1970. Default: the real time. */
  readonly now?: () => number;
  readonly observer?: AdminObserver;
  /** The addresses of names. Default: `localhost` as 127.0.0.1. */
  readonly names?: ReadonlyMap<string, string>;
}

/** Observes every request to the Admin API. */
export interface AdminObserver {
  arrived(request: ObservedRequest): void;
  /** Before the request is applied: a write is not in the store yet. */
  carryingOut(request: ObservedRequest): void;
  /** After the request was applied with this status, even if the response is lost. */
  carriedOut(request: ObservedRequest, status: number): void;
  /** After the response was sent or the connection was closed. */
  ended(request: ObservedRequest): void;
}

export interface ObservedRequest {
  readonly seq: number;
  readonly method: string;
  /** Includes the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string | undefined;
}

export interface RecordedRequest {
  readonly seq: number;
  readonly method: string;
  /** Includes the query. */
  readonly path: string;
  /** Undefined without a response: the request hangs or its connection was closed. */
  readonly status: number | undefined;
  readonly body: string | undefined;
  /** The time when the first line was read, in milliseconds of the machine's monotonic clock. */
  readonly arrivedAt: number;
  /** The time when it was applied, on the same clock. Undefined without a response. */
  readonly answeredAt: number | undefined;
}

export type Fault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly body?: string;
      readonly contentType?: string;
      readonly headers?: Record<string, string>;
    }
  /** Never answers. With `apply: 'before'`, the request is applied first. */
  | { readonly kind: 'hang'; readonly apply?: 'before' }
  /** Closes the connection, by default before the response. With `after`, the request is applied. */
  | { readonly kind: 'cut'; readonly apply?: 'before'; readonly after?: 'headers' | 'half-body' }
  /** Applies the request later, even if its client has disconnected. */
  | { readonly kind: 'delay'; readonly delayMs: number };

export interface FaultRule {
  readonly fault: Fault;
  readonly match?: (request: { method: string; path: string }) => boolean;
  /** The number of requests that it affects. Default: all. */
  readonly times?: number;
}

type StoredResource = 'upstreams' | 'routes' | 'services' | 'stream_routes';

/** A data plane. Its proxy and its Control API use the same view of the store. */
export interface StandInDataPlane {
  readonly controlUrl: string;
  readonly proxyUrl: string;
  /** The requests to the Control API, in order of arrival. */
  readonly requests: readonly string[];
  /** Serves the current content of the store until `release`, like a data plane whose etcd watch is stuck. */
  hold(): void;
  release(): void;
  /** Stops listening and closes all connections. */
  stop(): Promise<void>;
  /** Listens again on the same ports. */
  start(): Promise<void>;
}

export interface StandIn extends AsyncDisposable {
  /** `http(s)://127.0.0.1:PORT`, without a path. */
  readonly adminUrl: string;
  /** The proxy URL of the first data plane. */
  readonly proxyUrl: string;
  readonly controlUrl: string;
  readonly adminKey: string;
  /** The data planes. The first one exists from the start. */
  readonly dataPlanes: readonly StandInDataPlane[];
  /** Adds a data plane with the same store. */
  addDataPlane(): Promise<StandInDataPlane>;
  /** The requests to the Admin API, in order of arrival. */
  readonly requests: readonly RecordedRequest[];
  clearRequests(): void;
  /** The stored value, in the form of the Admin API. */
  get(resource: StoredResource, id: string): Record<string, unknown> | undefined;
  ids(resource: StoredResource): readonly string[];
  /** The first matching rule applies. Disposing removes the rule and closes the connections that it keeps hanging. */
  addFault(rule: FaultRule): Disposable;
  setAdminKey(key: string): void;
  /** Upgrades the gateway. The store is kept. */
  setVersion(version: string): void;
  /** Stops listening and closes all connections. The store is kept. */
  stop(): Promise<void>;
  /** Listens again on the same ports. */
  start(): Promise<void>;
  /** Writes like another client, without validation and without a recorded request. */
  put(resource: StoredResource, id: string, value: JsonObject): void;
  /** Deletes like another client. */
  remove(resource: StoredResource, id: string): void;
  /** Empties the store. */
  wipe(): void;
  /** A backup of etcd, for `restore`. */
  save(): SavedStore;
  restore(saved: SavedStore): void;
  /** The number of connections to the Admin API. */
  openConnections(): number;
}

interface ActiveRule extends FaultRule {
  timesLeft: number;
  readonly hanging: Set<ServerResponse>;
  removed: boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * A stand-in for APISIX 3.18: real servers for the Admin API, the Control API and the data plane over one store in
 * memory. Unlike in APISIX, a data plane that is not held back applies a write at once, and stream routes do not need a stream proxy.
 */
export async function startStandIn(options: StandInOptions = {}): Promise<StandIn> {
  const host = options.host ?? '127.0.0.1';
  const now = options.now ?? (() => Date.now() / 1000);
  let version = options.version ?? '3.18.0';
  const serverHeader = () => `APISIX/${version}`;
  let adminKey = options.adminKey ?? 'stand-in-admin-key-0123456789';
  const store = createStore(now);
  const adminApi = createAdminApi({
    store,
    adminKey: () => adminKey,
    viewerKey: options.viewerKey ?? 'stand-in-viewer-key-0123456789',
    version: () => version,
    storesDefaults: () => options.storesDefaults ?? storesDefaults(version),
    now,
  });
  const names = options.names ?? new Map([['localhost', '127.0.0.1']]);
  const requests: Mutable<RecordedRequest>[] = [];
  const rules: ActiveRule[] = [];
  let seq = 0;
  let running = new AbortController();

  async function onAdminRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '' } = request;
    seq += 1;
    const record: Mutable<RecordedRequest> = {
      seq,
      method,
      path,
      status: undefined,
      body: undefined,
      arrivedAt: monotonicMs(),
      answeredAt: undefined,
    };
    requests.push(record);
    const rule = takeRule({ method, path });
    const { signal } = running;
    const { body, bodyBytes } = await readBody(request);
    record.body = body;
    const observed = { seq: record.seq, method, path, headers: request.headers, body };
    options.observer?.arrived(observed);
    response.once('close', () => options.observer?.ended(observed));
    const carryOut = () => {
      options.observer?.carryingOut(observed);
      const given = adminApi({ method, path, headers: request.headers, body, bodyBytes });
      options.observer?.carriedOut(observed, given.status);
      return given;
    };
    const answer = (given: Answer, headers: Record<string, string> = {}) => {
      record.status = given.status;
      record.answeredAt = monotonicMs();
      send(response, given, headers);
    };

    const fault = rule?.fault;
    switch (fault?.kind) {
      case undefined:
        return answer(carryOut());
      case 'answer':
        return answer(
          {
            status: fault.status,
            contentType: fault.contentType ?? 'application/json',
            body: fault.body ?? '',
          },
          fault.headers,
        );
      case 'hang':
        if (fault.apply === 'before') carryOut();
        if (rule?.removed) response.destroy();
        else rule?.hanging.add(response);
        return;
      case 'cut': {
        const given = fault.apply === 'before' || fault.after !== undefined ? carryOut() : undefined;
        if (given === undefined || fault.after === undefined) response.destroy();
        else sendPart(response, given, fault.after);
        return;
      }
      case 'delay':
        await sleep(fault.delayMs, undefined, { signal });
        return answer(carryOut());
      default:
        fault satisfies never;
    }
  }

  function takeRule(request: { method: string; path: string }): ActiveRule | undefined {
    const rule = rules.find(
      ({ timesLeft, match }) => timesLeft > 0 && (match === undefined || match(request)),
    );
    if (rule !== undefined) rule.timesLeft -= 1;
    return rule;
  }

  function send(response: ServerResponse, answer: Answer, headers: Record<string, string> = {}): void {
    writeHead(response, answer, headers);
    response.end(answer.body);
  }

  function sendPart(response: ServerResponse, answer: Answer, part: 'headers' | 'half-body'): void {
    writeHead(response, answer, {});
    response.flushHeaders();
    const bytes = Buffer.from(answer.body);
    if (part === 'half-body') response.write(bytes.subarray(0, Math.floor(bytes.length / 2)));
    response.socket?.destroySoon();
  }

  function writeHead(response: ServerResponse, answer: Answer, headers: Record<string, string>): void {
    response.writeHead(answer.status, {
      server: serverHeader(),
      'content-type': answer.contentType,
      'content-length': Buffer.byteLength(answer.body),
      ...headers,
    });
  }

  /** Responds with an internal error. A disconnected client or a stop gets no response. */
  function fail(response: ServerResponse, error: unknown): void {
    if (response.destroyed || response.headersSent) response.destroy();
    else send(response, { status: 500, contentType: 'text/plain', body: `stand-in: ${String(error)}` });
  }

  await using opened = new AsyncDisposableStack();
  const listen = async (parts: AsyncDisposableStack, listener: Omit<ListenerOptions, 'host'>) => {
    const started = await startListener({ ...listener, host });
    parts.defer(() => started.stop());
    return started;
  };
  const admin = await listen(opened, {
    port: options.port ?? 0,
    tls: options.tls,
    onRequest(request, response) {
      onAdminRequest(request, response).catch((error: unknown) => fail(response, error));
    },
  });
  const dataPlanes: StandInDataPlane[] = [];
  async function addDataPlane(ports: { readonly control: number; readonly proxy: number }) {
    let view: StoreReader = store;
    const served: StoreReader = {
      get: (resource, id) => view.get(resource, id),
      list: (resource) => view.list(resource),
    };
    const worker = createWorker({ version: () => version, resolve: (name) => names.get(name) });
    const controlApi = createControlApi(served, worker);
    const proxying = createDataPlane(served, worker, serverHeader);
    const asked: string[] = [];
    await using parts = new AsyncDisposableStack();
    const control = await listen(parts, {
      port: ports.control,
      onRequest({ method = '', url: path = '' }, response) {
        asked.push(`${method} ${path}`);
        send(response, controlApi({ method, path }));
      },
    });
    const proxy = await listen(parts, {
      port: ports.proxy,
      onRequest(request, response) {
        proxying.handle(request, response).catch((error: unknown) => fail(response, error));
      },
    });
    const dataPlane: StandInDataPlane = {
      controlUrl: `http://${host}:${control.port}`,
      proxyUrl: `http://${host}:${proxy.port}`,
      requests: asked,
      hold() {
        view = store.snapshot();
      },
      release() {
        view = store;
      },
      async stop() {
        await Promise.all([control.stop(), proxy.stop()]);
        proxying.close();
      },
      async start() {
        await Promise.all([control.start(), proxy.start()]);
      },
    };
    dataPlanes.push(dataPlane);
    parts.move();
    return dataPlane;
  }
  const { controlUrl, proxyUrl } = await addDataPlane({
    control: options.controlPort ?? 0,
    proxy: options.proxyPort ?? 0,
  });
  opened.move();

  async function stop(): Promise<void> {
    running.abort();
    await Promise.all([admin, ...dataPlanes].map((part) => part.stop()));
  }

  return {
    adminUrl: `${options.tls === undefined ? 'http' : 'https'}://${host}:${admin.port}`,
    proxyUrl,
    controlUrl,
    dataPlanes,
    addDataPlane: () => addDataPlane({ control: 0, proxy: 0 }),
    get adminKey() {
      return adminKey;
    },
    requests,
    clearRequests() {
      requests.length = 0;
    },
    get: (resource, id) => structuredClone(store.get(resource, id)?.value),
    ids: (resource) => store.list(resource).map(({ key }) => key.slice(key.lastIndexOf('/') + 1)),
    addFault(rule) {
      const active: ActiveRule = {
        ...rule,
        timesLeft: rule.times ?? Number.POSITIVE_INFINITY,
        hanging: new Set(),
        removed: false,
      };
      rules.push(active);
      return {
        [Symbol.dispose]() {
          active.removed = true;
          const index = rules.indexOf(active);
          if (index >= 0) rules.splice(index, 1);
          for (const response of active.hanging) response.destroy();
          active.hanging.clear();
        },
      };
    },
    setAdminKey(key) {
      adminKey = key;
    },
    setVersion(next) {
      version = next;
    },
    stop,
    async start() {
      if (running.signal.aborted) running = new AbortController();
      await Promise.all([admin, ...dataPlanes].map((part) => part.start()));
    },
    put(resource, id, value) {
      const seconds = Math.floor(now());
      const created = store.get(resource, id)?.value['create_time'] ?? seconds;
      store.set(resource, id, { ...value, id, create_time: created, update_time: seconds }, {});
    },
    remove: (resource, id) => {
      store.delete(resource, id);
    },
    wipe: () => store.wipe(),
    save: () => store.save(),
    restore: (saved) => store.restore(saved),
    openConnections: () => admin.openConnections(),
    [Symbol.asyncDispose]: stop,
  };
}

/** Reads the whole body, and keeps it up to the limit of the Admin API. */
async function readBody(request: IncomingMessage): Promise<{ body: string | undefined; bodyBytes: number }> {
  const chunks: Buffer[] = [];
  let bodyBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bodyBytes += chunk.length;
    if (bodyBytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  const kept = bodyBytes > 0 && bodyBytes <= MAX_BODY_BYTES;
  return { body: kept ? Buffer.concat(chunks).toString('utf8') : undefined, bodyBytes };
}
