import type { DataPlaneReader } from '../../gateways/driver.ts';
import type { Confirmation } from '../../model/confirmation.ts';
import {
  GatewayAuthError,
  GatewayUnavailableError,
  ListTooLargeError,
  OperatorError,
} from '../../model/errors.ts';
import type { GatewayInfo } from '../../model/gateway.ts';
import type { ObservedUpstream, Upstream, UpstreamId } from '../../model/upstream.ts';
import { Lock, type LockDeps } from './lock.ts';
import type { SessionOptions } from './options.ts';
import { Requests } from './requests.ts';
import { READ_BACK_MS, type Slot, Slots } from './slot.ts';
import { WriteGate } from './write-gate.ts';
import { UNAUTHORIZED_RETRY_MS } from './write-refusal.ts';

export type SessionState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failing'; readonly error: Failure };

type Failure = GatewayUnavailableError | GatewayAuthError;

const CONFIRMED: Confirmation = { state: 'confirmed' };

/** More read-backs than this are one list. */
const READ_BACKS_AT_ONCE = 16;

/**
 * What is known of one gateway, and the only way to it.
 *
 * It begins with one list instead of a GET per object and learns from every answer, so that a change costs one PUT and
 * no GET. Requests for one id never overlap. A request that may or may not have happened makes the id unknown: the next
 * one reads it back first. While the gateway is down only one list is requested, with growing pauses; the first list that
 * succeeds shows what has to be done.
 */
export class GatewaySession {
  readonly #options: SessionOptions;
  readonly #slots: Slots;
  readonly #requests: Requests;
  readonly #writes: WriteGate;
  readonly #lockDeps: LockDeps;
  readonly #stop = new AbortController();
  readonly #confirmations: Disposable | undefined;
  #state: SessionState = { kind: 'starting' };
  #listedAt: number | undefined;
  #unlistable: ListTooLargeError | undefined;
  #info: GatewayInfo | undefined;
  #wake: (() => void) | undefined;
  #suspected = false;
  /** When the next list is due at the latest, on the monotonic clock. */
  #listBy = Number.POSITIVE_INFINITY;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { signal } = this.#stop;
    this.#slots = new Slots(options.isWanted);
    this.#requests = new Requests({ ...options, onSuspicion: () => this.#suspect() }, signal);
    this.#writes = new WriteGate(
      {
        ...options,
        onRefusal: () => options.onState('connection'),
        onUncertain: () => this.#wake?.(),
      },
      this.#requests,
      this.#slots,
      signal,
    );
    this.#confirmations = options.driver.confirmations?.onChange((id) => {
      if (id === undefined) options.onState('connection');
      else options.onConfirmation?.(id);
    });
    this.#lockDeps = {
      driver: options.driver,
      clock: options.clock,
      slots: this.#slots,
      requests: this.#requests,
      writes: this.#writes,
      listedAt: () => this.#listedAt,
    };
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Another session, replica or program has taken its place: a failure now says nothing of the gateway. */
  get closed(): boolean {
    return this.#stop.signal.aborted || !this.#options.mayWrite();
  }

  /** What the gateway says of itself; undefined until it answered. */
  get info(): GatewayInfo | undefined {
    return this.#info;
  }

  /** Why the gateway refuses every write, although it may allow reads. */
  get writeRefused(): GatewayAuthError | undefined {
    return this.#writes.refused;
  }

  /** Whether a write that got no answer may still be carried out. */
  get unsettled(): boolean {
    return this.#slots.isUnsettled;
  }

  /** Whether a list that was asked for at `time` (monotonic) may lack a write of this session. */
  isWritingSince(time: number): boolean {
    return this.#writes.isWritingSince(time);
  }

  /** When the last complete list was asked for, on the monotonic clock. */
  get listedAt(): number | undefined {
    return this.#listedAt;
  }

  /** Why upstreams are read one by one: their list is too large. */
  get unlistable(): ListTooLargeError | undefined {
    return this.#unlistable;
  }

  /** Past this session's limits and state: data planes go on while their gateway cannot be configured. */
  get dataPlanes(): DataPlaneReader | undefined {
    return this.#options.driver.dataPlanes;
  }

  /** Whether the gateway works by what was written last as `id`. */
  confirmation(id: UpstreamId): Confirmation {
    return this.#options.driver.confirmations?.of(id) ?? CONFIRMED;
  }

  /** The data planes that fetch their configuration; undefined where the gateway gives it to them. */
  get connectedDataPlanes(): readonly string[] | undefined {
    return this.#options.driver.confirmations?.connectedDataPlanes();
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
    return this.#slots.get(id)?.content;
  }

  /**
   * `observed`, which is the same as `wanted` in canonical form, in terms of `wanted`: what is known of ten thousand
   * upstreams then contains no second copy of their endpoints' addresses.
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
    const slot = this.#slots.get(id);
    if (slot?.content === observed) slot.content = shared;
    return shared;
  }

  /** How many ids are known, and of how many it is not known what the gateway contains. */
  get ids(): { readonly known: number; readonly uncertain: number } {
    return this.#slots.counts();
  }

  /**
   * What the upstream was before another client changed or deleted it behind this session's back; undefined if none did.
   * Returned once: then it is reported.
   */
  takeDrift(id: UpstreamId): ObservedUpstream | undefined {
    return this.#slots.takeDrift(id);
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
    this.#confirmations?.[Symbol.dispose]();
    this.#wake?.();
    await this.#slots.unlocked();
    this.#options.driver.close();
  }

  /**
   * Runs `work` while nothing else of this session touches `id`. Rejects with what made the session fail, without a
   * request, while the gateway is down.
   */
  async exclusive<T>(id: UpstreamId, work: (lock: Lock) => Promise<T>): Promise<T> {
    const slot = this.#slots.take(id);
    const before = slot.lock;
    const run = (async () => {
      await before?.catch(() => undefined);
      if (this.#state.kind === 'failing') throw this.#state.error;
      return await work(new Lock(this.#lockDeps, slot));
    })();
    slot.lock = run;
    try {
      return await run;
    } finally {
      if (slot.lock === run) {
        slot.lock = undefined;
        this.#slots.dropIfEmpty(slot);
      }
    }
  }

  #suspect(): void {
    if (this.#suspected || this.#state.kind !== 'ready') return;
    this.#suspected = true;
    this.#wake?.();
  }

  #fail(error: Failure): void {
    const before = this.#state;
    this.#state = { kind: 'failing', error };
    if (before.kind === 'failing' && before.error.message === error.message) return;
    this.#options.log.warn({ reason: error.reason }, error.message);
    if (before.kind !== 'failing') this.#wake?.();
    // The messages of an outage may differ from answer to answer: the objects report the first one only.
    const same = before.kind === 'failing' && before.error.reason === error.reason;
    this.#options.onState(same ? 'connection' : 'everything');
  }

  async #list(): Promise<Failure | undefined> {
    const { signal } = this.#stop;
    const before = this.#slots.position;
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
      if (error instanceof ListTooLargeError && (await this.#workUnlisted(error))) return undefined;
      const failure = this.#failureOf(error, 'listing the upstreams of the gateway failed');
      this.#fail(failure);
      return failure;
    }
  }

  /**
   * Goes on without a list: a gateway that contains too much must not stop the writes and deletions that make it smaller.
   * Every upstream is read again, since no list shows what another client changed. Returns false where the gateway
   * does not answer either.
   */
  async #workUnlisted(error: ListTooLargeError): Promise<boolean> {
    const { driver, limit, log, onError, onState } = this.#options;
    try {
      this.#info = await limit(() => driver.check(this.#stop.signal));
    } catch {
      return false;
    }
    onError?.(error.reason);
    this.#slots.forgetContents();
    this.#listedAt = undefined;
    if (this.#unlistable === undefined) log.warn({ reason: error.reason }, error.message);
    this.#unlistable = error;
    this.#state = { kind: 'ready' };
    onState('everything');
    return true;
  }

  #failureOf(error: unknown, what: string): Failure {
    this.#options.onError?.(error instanceof OperatorError ? error.reason : 'InternalError');
    if (error instanceof GatewayAuthError || error instanceof GatewayUnavailableError) return error;
    this.#options.log.error({ err: error }, what);
    return new GatewayUnavailableError(error instanceof OperatorError ? error.message : what, {
      cause: error,
    });
  }

  /** Takes a list that began at position `before` for what is known. */
  #adopt(observed: ReadonlyMap<UpstreamId, ObservedUpstream>, before: number, askedAt: number): void {
    const changed = this.#slots.adopt(observed, before, askedAt);
    this.#listedAt = askedAt;
    const recovered = this.#state.kind !== 'ready' || this.#unlistable !== undefined;
    this.#unlistable = undefined;
    if (this.#state.kind === 'failing') this.#options.log.info({}, 'the gateway is reachable again');
    this.#state = { kind: 'ready' };
    if (recovered) this.#options.onState('everything');
    this.#options.onList({ recovered, changed, observed });
  }

  /**
   * Reads ids again whose write got no answer a minute ago: the write may have been carried out since, over a newer one.
   * Returns false where that takes a list.
   */
  async #readBack(now: number): Promise<boolean> {
    const { signal } = this.#stop;
    const due = this.#slots.readBacksDue(now);
    if (due.length > READ_BACKS_AT_ONCE) return false;
    for (const slot of due) {
      this.#slots.noteReadBack(slot);
      try {
        await this.exclusive(slot.id, (lock) => this.#compare(slot, lock, signal));
      } catch (error) {
        if (!signal.aborted && !(error instanceof OperatorError)) throw error;
        // The next list shows it.
        return false;
      }
    }
    return true;
  }

  /** Reads `slot` again, and reports where its content changed. */
  async #compare({ id, isUncertain, content: before }: Slot, lock: Lock, signal: AbortSignal): Promise<void> {
    const observed = await lock.ask(signal);
    if (!isUncertain && before?.canonical === observed?.canonical) return;
    this.#options.log.info(
      { upstreamId: id },
      'the upstream changed after a write that got no response: the write took effect late, or another client changed the upstream; reconciling again',
    );
    this.#options.onLateWrite(id, observed);
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
          this.#fail(this.#failureOf(error, 'probing the gateway failed'));
        }
        this.#suspected = false;
        continue;
      }
      const now = clock.monotonic();
      const firstReadBack = this.#slots.firstReadBackAt;
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
