import { connect, type Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.ts';
import type { RegistryError } from '../registry-source/protocol.ts';
import {
  connectionClosed,
  connectionFailed,
  noAnswer,
  noConnection,
  notZooKeeper,
  readOnly,
  tooLarge,
  unauthorized,
} from './errors.ts';
import { withoutBrackets } from './formats.ts';
import {
  ANY_WATCH,
  AUTHENTICATION,
  FAILURE,
  type MessageReader,
  MessageSplitter,
  MessageWriter,
  NOTIFICATION,
  OPERATION,
} from './wire.ts';

const DEFAULT_PORT = 2181;
/** The server may grant less. It matters little: the operator creates no nodes, and begins a new session when a connection ends. */
const SESSION_TIMEOUT_MS = 30_000;
const LONGEST_HEARTBEAT_PAUSE_MS = 10_000;
/** The watches of a service that was not read for this long are removed: it is no longer followed. */
const IDLE_WATCHER_MS = 600_000;
/** A session without watches ends after this long without a request. */
const IDLE_MS = 60_000;
/** Of replies other than those to requests that say how much they may be. */
const SMALL_REPLY_BYTES = 64 * 1024;
/** Longer credentials are cut, and so rejected. */
const MAX_DIGEST_BYTES = 64 * 1024;

export interface SessionOptions {
  readonly server: URL;
  /** `user:password`. Undefined: no credentials. */
  readonly digest: string | undefined;
  /** How long a server may take for a reply. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Closes the session, even before it has begun. */
  readonly closing: AbortSignal;
}

/** Receives a call when a node that it watches may have changed. */
export interface Watcher {
  changed(path: string): void;
  /** When it was last asked, monotonic. */
  readonly usedAt: number;
}

export interface Request {
  readonly operation: number;
  readonly path: string;
  /** Absent: the operation cannot watch. Undefined: no watch. */
  readonly watcher?: Watcher | undefined;
  readonly maxBytes?: number;
}

export interface Reply {
  readonly failure: number;
  readonly body: MessageReader;
}

interface Pending extends Request {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: RegistryError) => void;
}

/**
 * One connection to one server, with a session of its own. When the connection ends the session is given up: watches are lost, and
 * their owners read again in the next session. Nothing depends on whether the server still knew the session.
 */
export class Session {
  readonly server: URL;
  readonly digest: string | undefined;
  readonly #options: SessionOptions;
  readonly #socket: Socket;
  readonly #splitter: MessageSplitter;
  readonly #ended = new AbortController();
  readonly #opened = Promise.withResolvers<void>();
  /** By the number of the request, in the order in which they were sent. */
  readonly #pending = new Map<number, Pending>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #pathsOf = new Map<Watcher, Set<string>>();
  #step: 'connecting' | 'beginning' | 'authenticating' | 'open' = 'connecting';
  #lastNumber = 0;
  #heartbeatPauseMs = LONGEST_HEARTBEAT_PAUSE_MS;
  #heartbeat: Disposable | undefined;
  /** Ends the session unless a reply comes before. */
  #deadline: Disposable | undefined;
  #isMidway = false;
  /** Monotonic. */
  #usedAt: number;

  private constructor(options: SessionOptions) {
    const { server, digest } = options;
    this.server = server;
    this.digest = digest;
    this.#usedAt = options.clock.monotonic();
    this.#options = options;
    this.#splitter = new MessageSplitter({
      accepts: (head, length) => this.#accepts(head, length),
      received: (message) => this.#received(message),
    });
    options.closing.addEventListener('abort', () => this.#close(), { once: true, signal: this.ended });
    this.#expectProgress();
    this.#socket = connect({ ...addressOf(server), noDelay: true });
    this.#socket.on('connect', () => this.#begin());
    this.#socket.on('data', (chunk: Buffer) => this.#data(chunk));
    this.#socket.on('error', (error) => this.#end(connectionFailed(server, error)));
    this.#socket.on('close', () => this.#end(connectionClosed(server, this.#isMidway)));
  }

  /** Resolves when the session can read what was written before. Rejects with `RegistryError`. */
  static async open(options: SessionOptions): Promise<Session> {
    const session = new Session(options);
    await session.#opened.promise;
    // The server may be behind the others. Afterwards it has everything that was written until now.
    await session.#sync();
    session.#beat();
    return session;
  }

  /** Aborts with a `RegistryError` when the session has ended. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Rejects with `RegistryError` without a reply, and if the reply is too large. */
  send(request: Request): Promise<Reply> {
    const { operation, path, watcher } = request;
    this.#usedAt = this.#options.clock.monotonic();
    const message = new MessageWriter().int(this.#nextNumber()).int(operation).text(path);
    if ('watcher' in request) message.bool(watcher !== undefined);
    return this.#request(request, message);
  }

  /** Removes the watches of `watcher`, which must read everything again. */
  #forget(watcher: Watcher): void {
    const paths = this.#pathsOf.get(watcher) ?? [];
    this.#pathsOf.delete(watcher);
    for (const path of paths) {
      watcher.changed(path);
      const others = this.#watchers.get(path);
      others?.delete(watcher);
      if (others === undefined || others.size > 0) continue;
      this.#watchers.delete(path);
      const message = new MessageWriter().int(this.#nextNumber()).int(OPERATION.removeWatches).text(path);
      // Servers before 3.5 do not know the operation. They keep the watch until the session ends.
      this.#request({ operation: OPERATION.removeWatches, path }, message.int(ANY_WATCH)).catch(
        () => undefined,
      );
    }
  }

  #close(): void {
    if (this.ended.aborted) return;
    const message = new MessageWriter().int(this.#nextNumber()).int(OPERATION.closeSession).message();
    if (this.#step === 'open') this.#socket.write(message, () => this.#socket.destroy());
    this.#end(connectionClosed(this.server, false), { isPolite: this.#step === 'open' });
  }

  async #sync(): Promise<void> {
    const request = { operation: OPERATION.sync, path: '/' };
    const message = new MessageWriter().int(this.#nextNumber()).int(OPERATION.sync).text(request.path);
    await this.#request(request, message);
  }

  /** A sync needs the leader: it also fails on a member that has lost the majority and has not noticed it yet. */
  #beat(): void {
    const { clock } = this.#options;
    this.#heartbeat = clock.setTimer(this.#heartbeatPauseMs, () => {
      const now = clock.monotonic();
      for (const watcher of this.#pathsOf.keys())
        if (now - watcher.usedAt > IDLE_WATCHER_MS) this.#forget(watcher);
      if (this.#pathsOf.size === 0 && now - this.#usedAt > IDLE_MS) {
        this.#close();
        return;
      }
      this.#sync().then(
        () => this.#beat(),
        () => undefined,
      );
    });
    if (this.ended.aborted) this.#heartbeat[Symbol.dispose]();
  }

  #nextNumber(): number {
    this.#lastNumber = this.#lastNumber === 0x7fff_ffff ? 1 : this.#lastNumber + 1;
    return this.#lastNumber;
  }

  #request(request: Request, message: MessageWriter): Promise<Reply> {
    if (this.ended.aborted) return Promise.reject(this.ended.reason as RegistryError);
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    if (this.#pending.size === 0) this.#expectProgress();
    this.#pending.set(this.#lastNumber, { ...request, resolve, reject });
    this.#socket.write(message.message());
    return promise;
  }

  /** Replies come in the order of the requests. */
  #expectProgress(): void {
    const { clock, server, timeoutMs } = this.#options;
    this.#deadline?.[Symbol.dispose]();
    this.#deadline = clock.setTimer(timeoutMs, () =>
      this.#end(this.#step === 'connecting' ? noConnection(server, timeoutMs) : noAnswer(server, timeoutMs)),
    );
  }

  #expectNothing(): void {
    this.#deadline?.[Symbol.dispose]();
    this.#deadline = undefined;
  }

  #begin(): void {
    this.#step = 'beginning';
    const begin = new MessageWriter().int(0).long(0n).int(SESSION_TIMEOUT_MS).long(0n);
    // The last entry: a read-only server must not accept this client.
    this.#socket.write(begin.buffer(Buffer.alloc(16)).bool(false).message());
  }

  #data(chunk: Buffer): void {
    if (this.ended.aborted) return;
    this.#isMidway = true;
    try {
      this.#splitter.push(chunk);
      this.#isMidway = this.#splitter.isMidway;
    } catch {
      // Invalid bytes must not end the program.
      this.#end(notZooKeeper(this.server));
    }
  }

  #accepts(head: MessageReader, length: number): boolean {
    if (this.#step !== 'open') return length <= SMALL_REPLY_BYTES;
    const number = head.int();
    const pending = this.#pending.get(number);
    // Also the path of a notification has no bound of its own.
    const maxBytes = pending?.maxBytes ?? SMALL_REPLY_BYTES;
    if (length <= maxBytes) return true;
    if (pending === undefined) throw new Error('a message of no request is too large');
    this.#settle(number)?.reject(
      tooLarge(`a list or an entry of the service in the registry is larger than ${maxBytes / 1024} KiB`),
    );
    return false;
  }

  #received(message: MessageReader): void {
    // One that ended while the messages of a chunk are processed.
    if (this.ended.aborted) return;
    switch (this.#step) {
      case 'connecting':
      case 'beginning':
        this.#begun(message);
        return;
      case 'authenticating':
      case 'open':
        this.#replied(message);
        return;
      default:
        this.#step satisfies never;
    }
  }

  #begun(message: MessageReader): void {
    message.int();
    const sessionTimeoutMs = message.int();
    message.long();
    message.buffer();
    if (message.left > 0 && message.bool()) {
      this.#end(readOnly(this.server));
      return;
    }
    if (sessionTimeoutMs <= 0) {
      this.#end(connectionClosed(this.server, false));
      return;
    }
    this.#heartbeatPauseMs = Math.min(sessionTimeoutMs / 3, LONGEST_HEARTBEAT_PAUSE_MS);
    const { digest } = this;
    if (digest === undefined) {
      this.#open();
      return;
    }
    this.#step = 'authenticating';
    this.#expectProgress();
    const credentials = Buffer.from(digest).subarray(0, MAX_DIGEST_BYTES);
    const authenticate = new MessageWriter().int(AUTHENTICATION).int(OPERATION.authenticate).int(0);
    this.#socket.write(authenticate.text('digest').buffer(credentials).message());
  }

  #open(): void {
    this.#step = 'open';
    this.#expectNothing();
    this.#opened.resolve();
  }

  #replied(message: MessageReader): void {
    const number = message.int();
    message.long();
    const failure = message.int();
    if (number === NOTIFICATION) this.#notified(message);
    else if (number === AUTHENTICATION) this.#authenticated(failure);
    else {
      const [oldest] = this.#pending.keys();
      const pending = number === oldest ? this.#settle(number) : undefined;
      if (pending === undefined) throw new Error('a reply to no request');
      const { operation, path, watcher } = pending;
      const isWatched =
        failure === FAILURE.none || (failure === FAILURE.noNode && operation === OPERATION.exists);
      if (watcher !== undefined && isWatched) this.#watch(path, watcher);
      pending.resolve({ failure, body: message });
    }
  }

  #authenticated(failure: number): void {
    if (failure !== FAILURE.none) this.#end(unauthorized(this.server, true));
    else if (this.#step === 'authenticating') this.#open();
  }

  #settle(number: number): Pending | undefined {
    const pending = this.#pending.get(number);
    this.#pending.delete(number);
    if (this.#pending.size > 0) this.#expectProgress();
    else this.#expectNothing();
    return pending;
  }

  #watch(path: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(path) ?? new Set();
    this.#watchers.set(path, watchers.add(watcher));
    const paths = this.#pathsOf.get(watcher) ?? new Set();
    this.#pathsOf.set(watcher, paths.add(path));
  }

  /** A watch fires once. Its readers read the node again, without regard to the kind of event. */
  #notified(message: MessageReader): void {
    const type = message.int();
    message.int();
    // Of the session itself.
    if (type === NOTIFICATION) return;
    const path = message.buffer().toString();
    const watchers = this.#watchers.get(path);
    this.#watchers.delete(path);
    for (const watcher of watchers ?? []) {
      const paths = this.#pathsOf.get(watcher);
      paths?.delete(path);
      if (paths?.size === 0) this.#pathsOf.delete(watcher);
      watcher.changed(path);
    }
  }

  #end(why: RegistryError, { isPolite = false } = {}): void {
    if (this.ended.aborted) return;
    this.#expectNothing();
    this.#heartbeat?.[Symbol.dispose]();
    // A server that does not read must not keep the process running.
    if (isPolite) this.#socket.unref();
    else this.#socket.destroy();
    this.#ended.abort(why);
    this.#opened.reject(why);
    for (const { reject } of this.#pending.values()) reject(why);
    this.#pending.clear();
    this.#watchers.clear();
    this.#pathsOf.clear();
  }
}

/** Where the server listens. */
export function addressOf({ hostname, port }: URL): { readonly host: string; readonly port: number } {
  return { host: withoutBrackets(hostname), port: port === '' ? DEFAULT_PORT : Number(port) };
}
