import { isDeepStrictEqual } from 'node:util';
import { orAborted } from '../../runtime/aborted.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createRateLimit, type RateLimit } from '../../runtime/rate-limit.ts';
import type { ProtocolOptions, ServiceQuery } from '../registry.ts';
import {
  type InstancesAnswer,
  type InstancesRequest,
  PROBE_SERVICE,
  type RegistryProtocol,
  type VersionRequest,
} from '../registry-source/protocol.ts';
import { credentialsOf, secretValue } from '../registry-source/user.ts';
import { FORMATS, type ZooKeeperInstance } from './formats.ts';
import { endpointsOf } from './instances.ts';
import { DEFAULT_PATHS, type ZooKeeperSection } from './schema.ts';
import { readVersion } from './server-version.ts';
import { failureOf, ServiceReader } from './service-reader.ts';
import { Session, type SessionOptions } from './session.ts';
import { FAILURE, OPERATION } from './wire.ts';

interface Cursor {
  readonly reader: ServiceReader;
  /** Of the last answer. */
  readonly instances: readonly ZooKeeperInstance[];
  /** Of the reader at the last answer. It may have read more since then, if the query of a later read ended early. */
  readonly reads: number;
}

type Request = InstancesRequest<Cursor>;
type Answer = InstancesAnswer<ZooKeeperInstance, Cursor>;

/** Waits for watches. All services share one session. */
export class ZooKeeperProtocol implements RegistryProtocol<ZooKeeperInstance, Cursor> {
  readonly type = 'ZooKeeper';
  readonly blocking = true;
  readonly probe: ServiceQuery = { service: PROBE_SERVICE, options: undefined };
  readonly #options: ProtocolOptions<ZooKeeperSection>;
  readonly #clock: Clock;
  readonly #limitRate: RateLimit;
  /** By server. Services use one of them, until it fails. A session that is not used ends by itself. */
  readonly #sessions = new Map<string, Promise<Session>>();
  /** Ends all sessions, also those that are about to begin. */
  #closing = new AbortController();
  /** Of all sessions. */
  #digestUsed: string | undefined;

  constructor(options: ProtocolOptions<ZooKeeperSection>) {
    this.#options = options;
    this.#clock = options.clock;
    this.#limitRate = createRateLimit(options.limits.requestsPerSecond);
  }

  key({ service }: ServiceQuery): string {
    return service;
  }

  async ask(request: Request, signal: AbortSignal): Promise<Answer> {
    const { cursor, query } = request;
    const session = await this.#session(request, signal);
    if (query === this.probe) return this.#probe(session, signal);
    const before = cursor?.reader.session === session ? cursor.reader : undefined;
    if (cursor !== undefined && before !== undefined) {
      before.usedAt = this.#clock.monotonic();
      if (before.reads === cursor.reads && (await this.#isUnchanged(before, request, signal)))
        return { instances: undefined, cursor };
      // The service did not fail: it is read at once in the next session.
      if (session.ended.aborted) return await this.#read(request, undefined, signal);
    }
    return await this.#read(request, before, signal);
  }

  endpoints(instances: readonly ZooKeeperInstance[]) {
    return endpointsOf(instances);
  }

  placeOptions(): undefined {
    return undefined;
  }

  version(request: VersionRequest, signal: AbortSignal): Promise<string | undefined> {
    return readVersion({ ...request, clock: this.#clock }, signal);
  }

  close(): void {
    this.#closing.abort();
    this.#closing = new AbortController();
    this.#sessions.clear();
  }

  /** Waits for a change. A watch that a server lost would hide changes: the end of the wait asks for the list itself. */
  async #isUnchanged(reader: ServiceReader, { waitMs }: Request, signal: AbortSignal): Promise<boolean> {
    const pause = (ended: AbortSignal) => this.#clock.sleep(waitMs, ended);
    if (waitMs > 0) await reader.waitForChange(pause, signal);
    if (!reader.isChanged) await this.#limited(() => reader.check(), signal);
    return !reader.isChanged;
  }

  async #read(request: Request, before: ServiceReader | undefined, signal: AbortSignal): Promise<Answer> {
    const { query, cursor } = request;
    const { format } = this.#options.section;
    const { nodeOf } = FORMATS[format];
    const session = before?.session ?? (await this.#session(request, signal));
    const path = `${this.#path}/${nodeOf(query.service)}`;
    const reader = before ?? new ServiceReader(session, path, FORMATS[format], this.#clock.monotonic());
    const instances = await this.#limited(() => reader.read(), signal);
    const isSame = isDeepStrictEqual(instances, cursor?.instances);
    return { instances: isSame ? undefined : instances, cursor: { reader, instances, reads: reader.reads } };
  }

  /** The parent of all services: it exists as soon as one has been registered, and shows whether the user may read. */
  async #probe(session: Session, signal: AbortSignal): Promise<Answer> {
    const path = this.#path;
    const { failure } = await this.#limited(
      () => session.send({ operation: OPERATION.getData, path, watcher: undefined, maxBytes: 1024 * 1024 }),
      signal,
    );
    if (failure !== FAILURE.none && failure !== FAILURE.noNode) throw failureOf(session, failure);
    const reader = new ServiceReader(session, path, FORMATS.Curator, this.#clock.monotonic());
    return { instances: [], cursor: { reader, instances: [], reads: 0 } };
  }

  get #path(): string {
    const { path, format } = this.#options.section;
    return path ?? DEFAULT_PATHS[format];
  }

  async #session(
    { server, timeoutMs }: Pick<Request, 'server' | 'timeoutMs'>,
    signal: AbortSignal,
  ): Promise<Session> {
    const digest = this.#digest();
    if (digest !== this.#digestUsed) {
      // The rights of a session do not change with the Secret.
      this.close();
      this.#digestUsed = digest;
    }
    const { href } = server;
    const begin = () =>
      this.#begin({ server, digest, timeoutMs, clock: this.#clock, closing: this.#closing.signal });
    const used = this.#sessions.get(href) ?? begin();
    const session = await orAborted(used, signal);
    if (!session.ended.aborted) return session;
    const current = this.#sessions.get(href);
    return await orAborted(current === undefined || current === used ? begin() : current, signal);
  }

  #begin(options: SessionOptions): Promise<Session> {
    const { href } = options.server;
    const session = Session.open(options);
    this.#sessions.set(href, session);
    // The next service that asks begins another one.
    session.catch(() => {
      if (this.#sessions.get(href) === session) this.#sessions.delete(href);
    });
    return session;
  }

  #digest(): string | undefined {
    const { secret, section } = this.#options;
    const user = credentialsOf(section, (ref) => secretValue(secret, ref));
    return user && `${user.username}:${user.password}`;
  }

  /** All reads of one answer count as one request. */
  async #limited<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const started = () => {
      this.#options.observer?.requested();
      return orAborted(read(), signal);
    };
    try {
      return await this.#limitRate(started, signal);
    } catch (error) {
      throw signal.aborted ? (signal.reason as Error) : error;
    }
  }
}
