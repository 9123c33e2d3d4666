import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import type { HttpResponse, ListResponse } from '../../runtime/http/messages.ts';
import type { ProtocolOptions, ServiceQuery } from '../registry.ts';
import { jsonOf, RegistryHttp, urlBelow } from '../registry-source/http-client.ts';
import { InstanceCollector } from '../registry-source/instance-collector.ts';
import type { LoginRequest, Logins, Token } from '../registry-source/logins.ts';
import {
  type InstancesAnswer,
  type InstancesRequest,
  PROBE_SERVICE,
  RegistryError,
  type RegistryProtocol,
  type VersionRequest,
} from '../registry-source/protocol.ts';
import { type EtcdInstance, instancesIn, type KeyValue, keyPrefix, keyValue } from './formats.ts';
import { endpointsOf } from './instances.ts';
import { etcdLogins, remedyOf } from './login.ts';
import type { EtcdBackend, EtcdSection } from './schema.ts';

/** The last answer. After a restored backup, the same revision may have other instances, so the instances are compared. */
interface Last {
  readonly instances: readonly EtcdInstance[];
  /** A decimal number of up to 63 bits. */
  readonly revision: string;
  readonly clusterId: string;
}

type ServerRequest = Pick<InstancesRequest<Last>, 'server' | 'timeoutMs'>;
type WatchRequest = Pick<InstancesRequest<Last>, 'server' | 'timeoutMs' | 'waitMs'>;

/** A linearizable read follows each watch: a member without a quorum, or a proxy, can keep a watch open and be silent. */
const LONGEST_WATCH_MS = 10_000;

/** Where many services take turns, each waits only briefly: a watch would double the requests, and tell little. */
const SHORTEST_WATCH_MS = 3_000;

/** Keys of one page. */
const PAGE_KEYS = 500;
/** Of one service, also those of other services below the same prefix. */
const MAX_KEYS = 20_000;

const number = z.string().regex(/^[0-9]{1,20}$/);
const header = z.object({ revision: number, cluster_id: number });
/** An answer to a range, without its keys. `count`: of all keys of the range, also those of other pages. */
const page = z.object({
  header,
  kvs: z.tuple([]).optional(),
  more: z.boolean().default(false),
  count: number.default('0'),
});
/** The first line of a watch that has begun. */
const created = z.object({
  result: z.object({ header, created: z.literal(true), canceled: z.literal(false).optional() }),
});
const failure = z.object({ message: z.string() });
const versionAnswer = z.object({ etcdserver: z.string().min(1).max(64) });

/**
 * Watches the keys of a service with `/v3/watch`, and reads them with `/v3/kv/range` after each event. Such a read is linearizable:
 * a member without a quorum does not answer, and no answer is older than an earlier one.
 */
export class EtcdProtocol implements RegistryProtocol<EtcdInstance, Last> {
  readonly type = 'Etcd';
  readonly blocking = true;
  readonly probe: ServiceQuery = { service: PROBE_SERVICE, options: undefined };
  readonly #section: EtcdSection;
  readonly #http: RegistryHttp;
  readonly #logins: Logins<Token>;
  readonly #clock: Clock;

  constructor({ section, secret, limits, observer, clock }: ProtocolOptions<EtcdSection>) {
    this.#section = section;
    this.#http = new RegistryHttp({ registry: { secret }, tls: section.tls, limits, observer });
    this.#logins = etcdLogins(clock);
    this.#clock = clock;
  }

  key({ service }: ServiceQuery): string {
    return service;
  }

  async ask(
    { query, server, cursor, timeoutMs, waitMs }: InstancesRequest<Last>,
    signal: AbortSignal,
  ): Promise<InstancesAnswer<EtcdInstance, Last>> {
    const { format } = this.#section;
    const { service } = query;
    const prefix = Buffer.from(keyPrefix(this.#section, service));
    if (cursor !== undefined && waitMs >= SHORTEST_WATCH_MS) {
      await this.#change(prefix, cursor, { server, timeoutMs, waitMs }, signal);
    } else if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
    const collector = new InstanceCollector<EtcdInstance>();
    const { header: at, keys } = await this.#entries(prefix, { server, timeoutMs }, signal, (entry) => {
      for (const instance of instancesIn(format, service, prefix, entry)) collector.add(instance);
    });
    const isSame = isDeepStrictEqual(collector.instances, cursor?.instances);
    // The follower holds the old ones. The same instances must not be in memory twice.
    const instances = cursor !== undefined && isSame ? cursor.instances : collector.instances;
    return {
      instances: isSame ? undefined : instances,
      cursor: { instances, revision: at.revision, clusterId: at.cluster_id },
      // Keys of other services below the prefix, and instances that have not changed, take as long to read.
      read: keys,
    };
  }

  /** Needs no user. */
  async version({ server, timeoutMs }: VersionRequest, signal: AbortSignal): Promise<string | undefined> {
    const url = urlBelow(server, '/version');
    const { status, text } = await this.#http.client().send({ method: 'GET', url, timeoutMs }, signal);
    return status === 200 ? versionAnswer.safeParse(jsonOf(text)).data?.etcdserver : undefined;
  }

  placeOptions(options: unknown) {
    const scheme = (options as EtcdBackend | undefined)?.scheme;
    return scheme === undefined ? undefined : { scheme };
  }

  endpoints(instances: readonly EtcdInstance[], options: unknown) {
    return endpointsOf(instances, options as EtcdBackend | undefined);
  }

  close(): void {
    this.#logins.close();
    this.#http.close();
  }

  /** Resolves when a key that begins with `prefix` may have changed since the last answer, and after `waitMs` at the latest. */
  async #change(prefix: Buffer, last: Last, to: WatchRequest, signal: AbortSignal): Promise<void> {
    const { server, timeoutMs, waitMs } = to;
    const login = this.#loginAt(to);
    const token = login && (await this.#tokenFor(login, signal));
    const ended = new AbortController();
    const silent = new AbortController();
    using _end = this.#clock.setTimer(Math.min(waitMs, LONGEST_WATCH_MS), () => ended.abort());
    using silence = new DisposableStack();
    const request = {
      url: urlBelow(server, '/v3/watch'),
      headers: {
        // Without it, a watch on a member without a leader stays open and silent (etcd-io/etcd 10819).
        'grpc-metadata-hasleader': 'true',
        ...(token === undefined ? {} : { authorization: token }),
      },
      body: {
        create_request: {
          key: prefix.toString('base64'),
          range_end: endOf(prefix).toString('base64'),
          start_revision: `${BigInt(last.revision) + 1n}`,
        },
      },
      timeoutMs: waitMs + timeoutMs,
      // The wait for the rate limit before this does not count: the server did not cause it.
      sent: () => void silence.use(this.#clock.setTimer(timeoutMs, () => silent.abort())),
      take: (line: string) => {
        silence.dispose();
        return !hasBegun(line, last);
      },
    };
    try {
      const all = AbortSignal.any([signal, ended.signal, silent.signal]);
      await this.#http.client().lines(request, all);
    } catch (error) {
      signal.throwIfAborted();
      if (silent.signal.aborted) {
        if (login !== undefined && token !== undefined) this.#logins.drop(token, login);
        throw silentServer(server, timeoutMs);
      }
      if (!ended.signal.aborted) throw error;
    }
  }

  /** Passes on all keys that begin with `prefix`, as they were at one revision. */
  async #entries(
    prefix: Buffer,
    to: ServerRequest,
    signal: AbortSignal,
    take: (entry: KeyValue) => void,
  ): Promise<{ readonly header: z.output<typeof header>; readonly keys: number }> {
    const rangeEnd = endOf(prefix).toString('base64');
    let start = prefix;
    let first: z.output<typeof page> | undefined;
    let keys = 0;
    for (;;) {
      const before = keys;
      const key = start.toString('base64');
      const body = { key, range_end: rangeEnd, limit: PAGE_KEYS, revision: first?.header.revision };
      const answer = await this.#range(body, to, signal, (entry) => {
        keys += 1;
        if (!entry.key.subarray(0, prefix.length).equals(prefix)) throw invalidAnswer(to.server);
        start = entry.key;
        take(entry);
      });
      first ??= answer;
      if (Math.max(keys, Number(first.count)) > MAX_KEYS) throw tooManyKeys();
      const isLast = !answer.more;
      if (isLast && keys === Number(first.count)) return { header: first.header, keys };
      if (isLast || keys === before) throw invalidAnswer(to.server);
      // The next possible key.
      start = Buffer.concat([start, Buffer.of(0)]);
    }
  }

  async #range(
    body: object,
    to: ServerRequest,
    signal: AbortSignal,
    take: (entry: KeyValue) => void,
  ): Promise<z.output<typeof page>> {
    const { server, timeoutMs } = to;
    const send = (token: string | undefined) =>
      this.#http.client().list(
        {
          url: urlBelow(server, '/v3/kv/range'),
          headers: token === undefined ? {} : { authorization: token },
          body,
          timeoutMs,
          path: ['kvs'],
          take: (item) => take(entryIn(item, server)),
        },
        signal,
      );
    const response = await this.#authorized(to, signal, send);
    if (!('rest' in response)) throw rejected(response, server, this.#hasUser);
    const { data } = page.safeParse(response.rest);
    if (data === undefined) throw invalidAnswer(server);
    return data;
  }

  /**
   * Sends with the token of the user, if there is one, and with another token if the server rejected it. A token without an answer
   * is dropped: it contains the revision of etcd's log at which it was issued, and etcd lets a request wait until it has that
   * revision. After an older backup was restored, it never answers (etcd-io/etcd, simple_token.go).
   */
  async #authorized(
    to: ServerRequest,
    signal: AbortSignal,
    send: (token: string | undefined) => Promise<ListResponse | HttpResponse>,
  ): Promise<ListResponse | HttpResponse> {
    const login = this.#loginAt(to);
    if (login === undefined) return await send(undefined);
    const token = await this.#tokenFor(login, signal);
    try {
      const response = await send(token);
      if (!isRejectedToken(response)) return response;
    } catch (error) {
      if (error instanceof RegistryError && error.reason === 'Unreachable') this.#logins.drop(token, login);
      throw error;
    }
    const another = await this.#logins.after(token, login, signal);
    if (another === undefined) throw rejectsItsTokens(to.server);
    return await send(another.value);
  }

  get #hasUser(): boolean {
    return this.#section.usernameSecretRef !== undefined;
  }

  /** Undefined: the requests are anonymous. */
  #loginAt({ server, timeoutMs }: ServerRequest): LoginRequest | undefined {
    const credentials = this.#http.credentials(this.#section);
    if (credentials === undefined) return undefined;
    const url = urlBelow(server, '/v3/auth/authenticate');
    return { http: this.#http.client(), url, credentials, timeoutMs };
  }

  async #tokenFor(login: LoginRequest, signal: AbortSignal): Promise<string> {
    return (this.#logins.last(login) ?? (await this.#logins.renew(login, signal))).value;
  }
}

/** Throws `RegistryError`. */
function entryIn(item: Buffer, server: URL): KeyValue {
  try {
    return keyValue.parse(parseJson(item));
  } catch {
    throw invalidAnswer(server);
  }
}

/** Whether the line only says that the watch has begun, at the cluster and not before the revision of the last answer. */
function hasBegun(line: string, { revision, clusterId }: Last): boolean {
  const { data } = created.safeParse(jsonOf(line));
  if (data === undefined) return false;
  const { cluster_id: current, revision: now } = data.result.header;
  // A restored backup has a lower revision: its changes would begin long after the ones of today.
  return current === clusterId && BigInt(now) >= BigInt(revision);
}

function silentServer(server: URL, timeoutMs: number): RegistryError {
  return new RegistryError('Unreachable', 'server', {
    problem: `${server.host} did not answer within ${timeoutMs} ms`,
    remedy: 'check the registry, or raise requestTimeout',
  });
}

/** The first key after all keys that begin with `prefix`, which ends with "/". */
function endOf(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = '/'.charCodeAt(0) + 1;
  return end;
}

/** The token has expired, etcd restarted, or users and roles have changed since the login. */
function isRejectedToken(response: HttpResponse | ListResponse): boolean {
  if ('rest' in response) return false;
  const { status, text } = response;
  if (status === 401) return true;
  const message = status === 400 ? failure.safeParse(jsonOf(text)).data?.message : undefined;
  return message?.includes('revision of auth store is old') ?? false;
}

function rejectsItsTokens(server: URL): RegistryError {
  return new RegistryError('ServerError', 'server', {
    problem: `${server.host} rejected a token that it had just issued`,
    remedy: 'check the log of etcd. With --auth-token=jwt, all members need the same keys',
  });
}

function rejected(response: HttpResponse, server: URL, hasUser: boolean): RegistryError {
  if (hasUser && isRejectedToken(response)) return rejectsItsTokens(server);
  const { status, text } = response;
  const message = failure.safeParse(jsonOf(text)).data?.message;
  const isAnonymous = status === 400 && message?.includes('user name is empty') === true;
  if (status === 401 || status === 403 || isAnonymous) {
    return new RegistryError('Unauthorized', 'registry', {
      problem: `etcd at ${server.host} rejected the ${hasUser ? 'user' : 'request without credentials'} (${status})`,
      remedy: hasUser
        ? `grant the user read permission for all keys below etcd.prefix or, without a prefix, for those of each service and of ${PROBE_SERVICE}/`
        : 'set etcd.usernameSecretRef and etcd.passwordSecretRef',
    });
  }
  return new RegistryError('ServerError', 'server', {
    problem: `${server.host} answered HTTP ${status}`,
    remedy: remedyOf(status),
  });
}

function invalidAnswer(server: URL): RegistryError {
  return new RegistryError('InvalidAnswer', 'server', {
    problem: `${server.host} sent an invalid list of keys`,
    remedy: 'check that the URL in servers is that of an etcd member',
  });
}

function tooManyKeys(): RegistryError {
  return new RegistryError('InvalidAnswer', 'service', {
    problem: 'the service has more than 20,000 keys',
    remedy: 'register fewer instances under this service',
  });
}
