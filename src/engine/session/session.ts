import type { Reason } from '../../api/reasons.ts';
import type { DataPlaneReader, GatewayDriver } from '../../gateways/driver.ts';
import {
  GatewayAuthError,
  GatewayRejectedError,
  GatewayUnavailableError,
  OperatorError,
  WriteForbiddenError,
} from '../../model/errors.ts';
import type { GatewayInfo } from '../../model/gateway.ts';
import type { OwnerMark } from '../../model/ownership.ts';
import type { ObservedUpstream, Upstream, UpstreamId, UpstreamNode } from '../../model/upstream.ts';
import type { Backoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { WriteOperation } from '../instruments.ts';
import { UNAUTHORIZED_RETRY_MS, WriteRefusal } from './write-refusal.ts';

/** What a full list of the gateway showed. */
export interface ListReport {
  /** The gateway was not usable before this list, so nothing was known of it. */
  readonly recovered: boolean;
  /** Ids whose content is not what it was when this session saw it last. */
  readonly changed: ReadonlySet<UpstreamId>;
  readonly observed: ReadonlyMap<UpstreamId, ObservedUpstream>;
}

export type SessionState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failing'; readonly error: Failure };

type Failure = GatewayUnavailableError | GatewayAuthError;

export interface SessionOptions {
  readonly driver: GatewayDriver;
  readonly clock: Clock;
  readonly random: () => number;
  readonly backoff: Backoff;
  readonly log: Logger;
  /** Time between two full lists while all is well, in milliseconds. */
  readonly resyncMs: number;
  /** Runs a request within the connection's requests per second. */
  readonly limit: <T>(request: () => Promise<T>) => Promise<T>;
  /** Asked right before each write; when it says no, `closed` is true and the write is not begun. */
  readonly mayWrite: () => boolean;
  readonly onList: (report: ListReport) => void;
  /** A read-back showed that the gateway no longer holds as `id` what this session wrote there. */
  readonly onLateWrite: (id: UpstreamId, observed: ObservedUpstream | undefined) => void;
  /** Whether an object wants `id`: only its drift is recorded. */
  readonly isWanted: (id: UpstreamId) => boolean;
  /** `everything`: what the objects of the connection can hope for changed; `connection`: only what is said of itself. */
  readonly onState: (scope: 'everything' | 'connection') => void;
  /** The gateway answered a write, or did not. */
  readonly onWrite?: (operation: WriteOperation, outcome: 'accepted' | Reason) => void;
  /** A request failed. */
  readonly onError?: (reason: Reason) => void;
}

/**
 * How long an id that the gateway did not have is taken for free. Somebody else may make an upstream of that id at any
 * time, and it must not be overwritten.
 */
const ABSENCE_TRUSTED_MS = 10_000;
/** Never aborts. */
const UNTIL_ANSWERED = new AbortController().signal;
/**
 * A write that got no answer, also one of an earlier leader or session, may be carried out until about this long
 * afterwards, over whatever was written since.
 */
export const READ_BACK_MS = 60_000;
/** More read-backs than this are one list. */
const READ_BACKS_AT_ONCE = 16;

interface Known {
  upstream: ObservedUpstream | undefined;
  /** Position in the order of everything that this session learned. */
  readonly sequence: number;
  /** When it was asked for, on the monotonic clock. */
  readonly at: number;
}

/**
 * What is known of one gateway, and the only way to it.
 *
 * It begins with one list instead of a GET per object and learns from every answer, so that a change costs one PUT and
 * no GET. Requests for one id never overlap. A request that may or may not have happened makes the id unknown: the next
 * one reads it back first. While the gateway is down nothing is asked of it but one list with growing pauses; the first
 * that succeeds says what has to be done.
 */
export class GatewaySession {
  readonly #options: SessionOptions;
  readonly #known = new Map<UpstreamId, Known>();
  /** What wanted ids held before another client changed it, until that is reported. */
  readonly #drifted = new Map<UpstreamId, ObservedUpstream>();
  /** When ids are read again because a write of them got no answer, on the monotonic clock; the earliest first. */
  readonly #readBackAt = new Map<UpstreamId, number>();
  /** Ids whose last write may or may not have happened, with the place of that write in the order of `sequence`. */
  readonly #uncertain = new Map<UpstreamId, number>();
  readonly #turns = new Map<UpstreamId, Promise<unknown>>();
  readonly #stop = new AbortController();
  #composed: { readonly signal: AbortSignal; readonly both: AbortSignal } | undefined;
  #state: SessionState = { kind: 'starting' };
  #sequence = 0;
  #listedAt: number | undefined;
  #info: GatewayInfo | undefined;
  #writeRefusal: WriteRefusal | undefined;
  #writeProbe: Promise<GatewayAuthError | 'accepted' | 'unknown'> | undefined;
  #wake: (() => void) | undefined;
  #suspected = false;
  /** When the next list is due at the latest, on the monotonic clock. */
  #listBy = Number.POSITIVE_INFINITY;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Another session, replica or program has taken its place: what fails now says nothing of the gateway. */
  get closed(): boolean {
    return this.#stop.signal.aborted || !this.#options.mayWrite();
  }

  /** What the gateway says of itself; undefined until it answered. */
  get info(): GatewayInfo | undefined {
    return this.#info;
  }

  /** Why the gateway refuses every write, although it may allow reads. */
  get writeRefused(): GatewayAuthError | undefined {
    return this.#writeRefusal?.error;
  }

  /** Whether a write that got no answer may still be carried out. */
  get unsettled(): boolean {
    return this.#readBackAt.size > 0;
  }

  /** When the last complete list was asked for, on the monotonic clock. */
  get listedAt(): number | undefined {
    return this.#listedAt;
  }

  /** Past this session's limits and state: data planes go on while their gateway cannot be configured. */
  get dataPlanes(): DataPlaneReader | undefined {
    return this.#options.driver.dataPlanes;
  }

  canonical(desired: Upstream): string {
    return this.#options.driver.canonical(desired);
  }

  /** Whether the gateway was listed in full at least once. */
  get listed(): boolean {
    return this.#listedAt !== undefined;
  }

  /** What this session saw of `id` last, without asking; undefined also where it is not known. */
  peek(id: UpstreamId): ObservedUpstream | undefined {
    return this.#known.get(id)?.upstream;
  }

  /**
   * `observed`, which is the same as `wanted` in canonical form, in terms of `wanted`: what is known of ten thousand
   * upstreams then holds no second copy of their endpoints' addresses.
   */
  share(observed: ObservedUpstream, { id, owner, labels, nodes }: Upstream): ObservedUpstream {
    const { createTime, canonical, discovery } = observed;
    const shared: ObservedUpstream = {
      id,
      owner: owner ?? observed.owner,
      labels,
      nodes,
      createTime,
      canonical,
      discovery,
    };
    const known = this.#known.get(id);
    if (known?.upstream === observed) known.upstream = shared;
    return shared;
  }

  /** How many ids it knows anything of, and of how many it does not know what the gateway holds. */
  get ids(): { readonly known: number; readonly uncertain: number } {
    return { known: this.#known.size, uncertain: this.#uncertain.size };
  }

  /**
   * What the upstream was before somebody changed or deleted it behind this session's back; undefined if nobody did.
   * Asked once: then it is told.
   */
  takeDrift(id: UpstreamId): ObservedUpstream | undefined {
    const before = this.#drifted.get(id);
    this.#drifted.delete(id);
    return before;
  }

  /** Lists within `ms`; also once more if a list is under way. */
  listWithin(ms: number): void {
    this.#listBy = Math.min(this.#listBy, this.#options.clock.monotonic() + ms);
    this.#wake?.();
  }

  /** Lists, follows and recovers until `close`. */
  async run(): Promise<void> {
    const { clock, backoff, random, resyncMs } = this.#options;
    // Writes that an earlier session or leader began may still be carried out.
    const readBackAt = clock.monotonic() + READ_BACK_MS;
    while (!this.#stop.signal.aborted) {
      let failure = await this.#list();
      if (failure === undefined) {
        backoff.reset();
        const now = clock.monotonic();
        const next = now + resyncMs * (0.9 + 0.2 * random());
        failure = await this.#watchOver(now < readBackAt ? Math.min(next, readBackAt) : next);
      }
      if (failure !== undefined) {
        await this.#pause(
          failure instanceof GatewayAuthError
            ? UNAUTHORIZED_RETRY_MS
            : Math.max(backoff.next(), failure.retryAfterMs ?? 0),
        );
      }
    }
  }

  /** Begins nothing more, waits for the writes under way, and resolves when no request is left. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await Promise.allSettled(this.#turns.values());
    this.#options.driver.close();
  }

  /**
   * Runs `work` while nothing else of this session touches `id`. Rejects with what made the session fail, without a
   * request, while the gateway is down.
   */
  async exclusive<T>(id: UpstreamId, work: (turn: Lock) => Promise<T>): Promise<T> {
    const before = this.#turns.get(id);
    const turn = (async () => {
      await before?.catch(() => undefined);
      if (this.#state.kind === 'failing') throw this.#state.error;
      return await work({
        read: (wantedSince, signal) => this.#read(id, wantedSince, signal),
        ask: (signal) => this.#ask(id, signal),
        put: (upstream, signal) => this.#put(upstream, signal),
        putNodes: (nodes, signal) => this.#putNodes(id, nodes, signal),
        mark: (owner, signal) => this.#mark(id, owner, signal),
        delete: (references, signal) => this.#delete(id, references, signal),
      });
    })();
    this.#turns.set(id, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id);
    }
  }

  async #read(
    id: UpstreamId,
    wantedSince: number,
    signal: AbortSignal,
  ): Promise<ObservedUpstream | undefined> {
    const known = this.#known.get(id);
    const isUncertain = this.#uncertain.has(id);
    if (known?.upstream !== undefined && !isUncertain) return known.upstream;
    const now = this.#options.clock.monotonic();
    const absentAt = isUncertain ? undefined : (known?.at ?? this.#listedAt);
    if (absentAt !== undefined && absentAt >= wantedSince && now - absentAt < ABSENCE_TRUSTED_MS)
      return undefined;
    return await this.#ask(id, signal);
  }

  async #ask(id: UpstreamId, signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    const now = this.#options.clock.monotonic();
    const upstream = await this.#request(signal, (both) => this.#options.driver.get(id, both));
    this.#learn(id, upstream, now);
    return upstream;
  }

  async #put(upstream: Upstream, signal: AbortSignal): Promise<ObservedUpstream> {
    // What is cut off may still be carried out, and after it whatever the next writer did is gone: it is waited for. The
    // driver's own time limit ends it.
    const observed = await this.#write('put', upstream.id, signal, () =>
      this.#options.driver.put(upstream, UNTIL_ANSWERED),
    );
    this.#learn(upstream.id, observed, this.#options.clock.monotonic());
    return observed;
  }

  async #putNodes(
    id: UpstreamId,
    nodes: readonly UpstreamNode[],
    signal: AbortSignal,
  ): Promise<ObservedUpstream | undefined> {
    const observed = await this.#write('put', id, signal, () =>
      this.#options.driver.putNodes(id, nodes, UNTIL_ANSWERED),
    );
    this.#learn(id, observed, this.#options.clock.monotonic());
    return observed;
  }

  async #mark(id: UpstreamId, owner: OwnerMark, signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    const observed = await this.#write('put', id, signal, () =>
      this.#options.driver.mark(id, owner, UNTIL_ANSWERED),
    );
    this.#learn(id, observed, this.#options.clock.monotonic());
    return observed;
  }

  async #delete(id: UpstreamId, references: 'respect' | 'ignore', signal: AbortSignal): Promise<void> {
    await this.#write('delete', id, signal, (both) => this.#options.driver.delete(id, { references }, both));
    this.#learn(id, undefined, this.#options.clock.monotonic());
  }

  #learn(id: UpstreamId, upstream: ObservedUpstream | undefined, at: number): void {
    this.#sequence += 1;
    this.#known.set(id, { upstream, sequence: this.#sequence, at });
    this.#uncertain.delete(id);
  }

  async #write<T>(
    operation: WriteOperation,
    id: UpstreamId,
    signal: AbortSignal,
    write: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#options;
    const refusal = this.#writeRefusal;
    if (refusal?.mayTry(id, clock.monotonic()) === false) throw refusal.error;
    try {
      const result = await this.#request(signal, (both) => {
        if (!this.#options.mayWrite()) throw new WriteForbiddenError();
        return this.#counted(operation, write(both));
      });
      this.#acceptWrites();
      return result;
    } catch (error) {
      if (error instanceof GatewayAuthError) throw await this.#refusalOf(id, error);
      if (!(error instanceof OperatorError) || error instanceof GatewayUnavailableError) {
        this.#noteUncertain(id);
      }
      throw error;
    }
  }

  /** Carried out or not, or later: only the gateway can tell. */
  #noteUncertain(id: UpstreamId): void {
    this.#sequence += 1;
    this.#uncertain.set(id, this.#sequence);
    // Last in the order of the map, which is that of time.
    this.#readBackAt.delete(id);
    this.#readBackAt.set(id, this.#options.clock.monotonic() + READ_BACK_MS);
    this.#wake?.();
  }

  /** The gateway accepts writes. */
  #acceptWrites(): void {
    if (this.#writeRefusal === undefined) return;
    this.#writeRefusal = undefined;
    this.#options.onState('connection');
  }

  /** What the refusal of one write means: for this upstream alone, or for every write. */
  async #refusalOf(id: UpstreamId, error: GatewayAuthError): Promise<OperatorError> {
    this.#writeProbe ??= this.#probeWrites().finally(() => {
      this.#writeProbe = undefined;
    });
    const probe = await this.#writeProbe;
    if (probe === 'unknown') return error;
    if (probe === 'accepted') {
      this.#acceptWrites();
      return new GatewayRejectedError(
        `The Admin API, or a proxy in front of it, refused this upstream (${error.status ?? 'no status'}) and accepts other writes`,
        {
          remedy: 'change the spec, or correct the rule of the proxy or firewall that objects to its content',
        },
      );
    }
    const before = this.#writeRefusal;
    this.#writeRefusal ??= new WriteRefusal(probe);
    this.#writeRefusal.refused(id, this.#options.clock.monotonic());
    if (before === undefined) this.#options.onState('connection');
    return probe;
  }

  /** Asks whether the key may write at all; resolves to the refusal if it may not. */
  async #probeWrites(): Promise<GatewayAuthError | 'accepted' | 'unknown'> {
    const { signal } = this.#stop;
    try {
      await this.#options.limit(() => this.#options.driver.checkWrite(signal));
      return 'accepted';
    } catch (error) {
      return error instanceof GatewayAuthError ? error : 'unknown';
    }
  }

  async #counted<T>(operation: WriteOperation, request: Promise<T>): Promise<T> {
    try {
      const result = await request;
      this.#options.onWrite?.(operation, 'accepted');
      return result;
    } catch (error) {
      if (error instanceof OperatorError) this.#options.onWrite?.(operation, error.reason);
      throw error;
    }
  }

  async #request<T>(signal: AbortSignal, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const both = this.#orClosed(signal);
    try {
      return await this.#options.limit(() => {
        both.throwIfAborted();
        return request(both);
      });
    } catch (error) {
      if (error instanceof OperatorError) this.#options.onError?.(error.reason);
      // One failed request may be one object's misfortune, and a key may read though it must not write: a cheap probe
      // tells whether the gateway is lost.
      const isFailure = error instanceof GatewayAuthError || error instanceof GatewayUnavailableError;
      if (isFailure && !this.#suspected && this.#state.kind === 'ready') {
        this.#suspected = true;
        this.#wake?.();
      }
      throw error;
    }
  }

  /** Aborts with `signal` and with this session. Kept, since one caller makes many requests with one signal. */
  #orClosed(signal: AbortSignal): AbortSignal {
    if (this.#composed?.signal !== signal) {
      this.#composed = { signal, both: AbortSignal.any([signal, this.#stop.signal]) };
    }
    return this.#composed.both;
  }

  #fail(error: Failure): void {
    const before = this.#state;
    this.#state = { kind: 'failing', error };
    if (before.kind === 'failing' && before.error.message === error.message) return;
    this.#options.log.warn({ reason: error.reason }, error.message);
    if (before.kind !== 'failing') this.#wake?.();
    // The words of an outage may differ from answer to answer: the objects are told of the first ones only.
    const same = before.kind === 'failing' && before.error.reason === error.reason;
    this.#options.onState(same ? 'connection' : 'everything');
  }

  async #list(): Promise<Failure | undefined> {
    const { signal } = this.#stop;
    const before = this.#sequence;
    const askedAt = this.#options.clock.monotonic();
    this.#listBy = Number.POSITIVE_INFINITY;
    try {
      const { upstreams, info } = await this.#options.limit(() =>
        this.#options.driver.list(signal, (id) => this.peek(id)),
      );
      const isOther = this.#info !== undefined && this.#info.version !== info.version;
      this.#info = info;
      this.#adopt(upstreams, before, askedAt);
      // Another version takes other fields.
      if (isOther) this.#options.onState('everything');
      return undefined;
    } catch (error) {
      if (signal.aborted) return undefined;
      const failure = this.#failureOf(error, 'the list of its upstreams failed');
      this.#fail(failure);
      return failure;
    }
  }

  #failureOf(error: unknown, what: string): Failure {
    this.#options.onError?.(error instanceof OperatorError ? error.reason : 'InternalError');
    if (error instanceof GatewayAuthError || error instanceof GatewayUnavailableError) return error;
    this.#options.log.error({ err: error }, what);
    return new GatewayUnavailableError(error instanceof OperatorError ? error.message : what, {
      cause: error,
    });
  }

  /** Takes a list for what is known, but for what this session learned after the list began (`before`). */
  #adopt(observed: ReadonlyMap<UpstreamId, ObservedUpstream>, before: number, askedAt: number): void {
    const changed = new Set<UpstreamId>();
    for (const [id, known] of this.#known) {
      if (known.sequence > before || this.#isNewer(id, before) || observed.has(id)) continue;
      if (known.upstream !== undefined) {
        changed.add(id);
        this.#noteDrift(id, known.upstream);
      }
      this.#known.delete(id);
    }
    for (const [id, upstream] of observed) {
      const known = this.#known.get(id);
      if ((known !== undefined && known.sequence > before) || this.#isNewer(id, before)) continue;
      if (known?.upstream?.canonical !== upstream.canonical) {
        changed.add(id);
        if (known?.upstream !== undefined && !this.#uncertain.has(id)) this.#noteDrift(id, known.upstream);
      }
      this.#sequence += 1;
      const isSame =
        known?.upstream?.canonical === upstream.canonical &&
        known.upstream.createTime === upstream.createTime;
      this.#known.set(id, {
        upstream: isSame ? known.upstream : upstream,
        sequence: this.#sequence,
        at: askedAt,
      });
    }
    for (const id of this.#uncertain.keys()) if (!this.#isNewer(id, before)) this.#uncertain.delete(id);
    for (const [id, at] of this.#readBackAt) if (at <= askedAt) this.#readBackAt.delete(id);
    for (const id of this.#drifted.keys()) if (!this.#options.isWanted(id)) this.#drifted.delete(id);
    this.#listedAt = askedAt;
    const recovered = this.#state.kind !== 'ready';
    if (this.#state.kind === 'failing') this.#options.log.info({}, 'the gateway answers again');
    this.#state = { kind: 'ready' };
    if (recovered) this.#options.onState('everything');
    this.#options.onList({ recovered, changed, observed });
  }

  /** Of several changes in a row, what was there before the first counts. */
  #noteDrift(id: UpstreamId, before: ObservedUpstream): void {
    if (this.#options.isWanted(id) && !this.#drifted.has(id)) this.#drifted.set(id, before);
  }

  /** Whether a write of `id` became uncertain after `before`, so that a list of that time says nothing of it. */
  #isNewer(id: UpstreamId, before: number): boolean {
    return (this.#uncertain.get(id) ?? 0) > before;
  }

  /**
   * Reads ids again whose write got no answer a minute ago: the write may have been carried out since, over a newer one.
   * Returns false where that takes a list.
   */
  async #readBack(now: number): Promise<boolean> {
    const { signal } = this.#stop;
    const due = [...this.#readBackAt].filter(([, at]) => at <= now).map(([id]) => id);
    if (due.length > READ_BACKS_AT_ONCE) return false;
    for (const id of due) {
      this.#readBackAt.delete(id);
      try {
        await this.exclusive(id, async ({ ask }) => {
          const isKnown = !this.#uncertain.has(id);
          const before = this.peek(id);
          const observed = await ask(signal);
          if (isKnown && before?.canonical === observed?.canonical) return;
          this.#options.log.info(
            { upstreamId: id },
            'a write that got no answer was carried out late, or another client changed the upstream; it is reconciled again',
          );
          this.#options.onLateWrite(id, observed);
        });
      } catch (error) {
        if (!signal.aborted && !(error instanceof OperatorError)) throw error;
        // The next list shows it.
        return false;
      }
    }
    return true;
  }

  /** Waits until it is time for the next list, or for a failure of the gateway, which it returns. */
  async #watchOver(until: number): Promise<Failure | undefined> {
    const { clock, driver, limit } = this.#options;
    const { signal } = this.#stop;
    for (;;) {
      if (signal.aborted) return undefined;
      if (this.#state.kind === 'failing') return this.#state.error;
      if (this.#suspected) {
        try {
          await limit(() => driver.check(signal));
        } catch (error) {
          if (signal.aborted) return undefined;
          this.#fail(this.#failureOf(error, 'the probe of the gateway failed'));
        }
        this.#suspected = false;
        continue;
      }
      const now = clock.monotonic();
      const [firstReadBack = Number.POSITIVE_INFINITY] = this.#readBackAt.values();
      const next = Math.min(until, this.#listBy);
      if (next <= now) return undefined;
      if (firstReadBack > now) await this.#pause(Math.min(next, firstReadBack) - now);
      else if (!(await this.#readBack(now))) return undefined;
    }
  }

  /** Resolves after `ms` or when woken. */
  async #pause(ms: number): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = this.#options.clock.setTimer(ms, resolve);
    this.#wake = resolve;
    try {
      await promise;
    } finally {
      this.#wake = undefined;
    }
  }
}

/** One id of one gateway, while nothing else touches it. */
export interface Lock {
  /**
   * What the gateway holds: from what is known, or by asking. That it holds nothing is believed only if the gateway was
   * asked after `wantedSince` (monotonic): what somebody made there before is never overlooked.
   */
  read(wantedSince: number, signal: AbortSignal): Promise<ObservedUpstream | undefined>;
  put(upstream: Upstream, signal: AbortSignal): Promise<ObservedUpstream>;
  /** Replaces the nodes and nothing else; undefined if the gateway has no such upstream. */
  putNodes(nodes: readonly UpstreamNode[], signal: AbortSignal): Promise<ObservedUpstream | undefined>;
  /** Marks whose it is and changes nothing else; undefined if the gateway has no such upstream. */
  mark(owner: OwnerMark, signal: AbortSignal): Promise<ObservedUpstream | undefined>;
  delete(references: 'respect' | 'ignore', signal: AbortSignal): Promise<void>;
  /** What the gateway holds now, by asking. */
  ask(signal: AbortSignal): Promise<ObservedUpstream | undefined>;
}
