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
import { UNAUTHORIZED_RETRY_MS } from './write-rejection.ts';

export type SessionState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failing'; readonly error: Failure };

type Failure = GatewayUnavailableError | GatewayAuthError;

const CONFIRMED: Confirmation = { state: 'confirmed' };

/** Above this number of due read-backs, one list replaces them. */
const MAX_READ_BACKS = 16;

/**
 * Caches the content of one gateway and sends all configuration requests to it.
 *
 * The session starts with one list instead of a GET per object, and updates the cache from every response, so that a change
 * needs one PUT and no GET. Requests for one id never overlap. After a write with an unknown result, the id is read back before
 * the next write. While the gateway is unavailable, the session only retries the list, with exponential back-off. The first
 * successful list shows what has to be reconciled.
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
  /** Deadline of the next list (monotonic). */
  #listBy = Number.POSITIVE_INFINITY;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { signal } = this.#stop;
    this.#slots = new Slots(options.isWanted);
    this.#requests = new Requests({ ...options, onSuspicion: () => this.#suspect() }, signal);
    this.#writes = new WriteGate(
      {
        ...options,
        onRejectionChange: () => options.onState('connection'),
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

  /** Whether another session or replica has replaced this one. Failures of a closed session do not concern the gateway. */
  get closed(): boolean {
    return this.#stop.signal.aborted || !this.#options.mayWrite();
  }

  /** What the gateway reports about itself; undefined before its first response. */
  get info(): GatewayInfo | undefined {
    return this.#info;
  }

  /** Set while the gateway rejects every write, even if it accepts reads. */
  get writeRefused(): GatewayAuthError | undefined {
    return this.#writes.rejected;
  }

  /** Whether a write that got no response may still take effect. */
  get hasUnsettledWrites(): boolean {
    return this.#slots.isUnsettled;
  }

  /** Whether a list that was requested at `time` (monotonic) may miss a write of this session. */
  isWritingSince(time: number): boolean {
    return this.#writes.isWritingSince(time);
  }

  /** When the last complete list was requested (monotonic). */
  get listedAt(): number | undefined {
    return this.#listedAt;
  }

  /** Set while the list of upstreams is too large, so that upstreams are read one by one. */
  get unlistable(): ListTooLargeError | undefined {
    return this.#unlistable;
  }

  /** Independent of the session's limits and state: data planes keep serving while the Admin API is unavailable. */
  get dataPlanes(): DataPlaneReader | undefined {
    return this.#options.driver.dataPlanes;
  }

  /** Whether data planes confirmed the last write of `id`. */
  confirmation(id: UpstreamId): Confirmation {
    return this.#options.driver.confirmations?.of(id) ?? CONFIRMED;
  }

  /** The connected data planes; undefined if data planes do not fetch their configuration. */
  get connectedDataPlanes(): readonly string[] | undefined {
    return this.#options.driver.confirmations?.connectedDataPlanes();
  }

  canonical(desired: Upstream): string {
    return this.#options.driver.canonical(desired);
  }

  /** Whether a complete list is known. */
  get listed(): boolean {
    return this.#listedAt !== undefined;
  }

  /** The cached content of `id`, without a request; undefined if it does not exist or is unknown. */
  peek(id: UpstreamId): ObservedUpstream | undefined {
    return this.#slots.get(id)?.content;
  }

  /**
   * Rebuilds `observed` from the parts of the desired upstream, whose canonical form is equal. This saves memory: the cache of
   * ten thousand upstreams then contains no second copy of their addresses.
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

  /** Number of ids with known content, and of ids with an unanswered write. */
  get ids(): { readonly known: number; readonly uncertain: number } {
    return this.#slots.counts();
  }

  /** The content of the upstream before another client changed or deleted it. Returned once, so that drift is reported once. */
  takeDrift(id: UpstreamId): ObservedUpstream | undefined {
    return this.#slots.takeDrift(id);
  }

  /** Requests a list within `ms`. If a list is running, another one follows. */
  listWithin(ms: number): void {
    this.#listBy = Math.min(this.#listBy, this.#options.clock.monotonic() + ms);
    this.#wake?.();
  }

  /** Lists and watches the gateway and recovers from failures until `close`. */
  async run(): Promise<void> {
    const { clock, backoff, random, resyncMs } = this.#options;
    // Writes of an earlier session or leader may still take effect.
    const readBackAt = clock.monotonic() + READ_BACK_MS;
    while (!this.#stop.signal.aborted) {
      let failure = await this.#list();
      if (failure === undefined) {
        backoff.reset();
        const now = clock.monotonic();
        const next = now + resyncMs * (0.9 + 0.2 * random());
        failure = await this.#untilNextList(now < readBackAt ? Math.min(next, readBackAt) : next);
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

  /** Starts no new request, waits for running writes, and resolves when all requests have ended. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#confirmations?.[Symbol.dispose]();
    this.#wake?.();
    await this.#slots.unlocked();
    this.#options.driver.close();
  }

  /**
   * Runs `work` with exclusive access to `id`. While the gateway is unavailable, rejects with the error of the session and sends
   * no request.
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
    // Error messages may vary during an outage. Upstreams report only the first one.
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
      // Another version supports other fields.
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
   * Continues without a list, so that deletions can reduce a list that is too large. Every upstream is read before it is
   * written, because no list shows changes by other clients. Returns false if the gateway does not respond.
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

  /** Updates the cache from a list that started at position `before`. */
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
   * Reads ids back whose write got no response a minute ago: that write may have overwritten a newer one since. Returns false
   * if a list has to do this instead.
   */
  async #readBack(now: number): Promise<boolean> {
    const { signal } = this.#stop;
    const due = this.#slots.readBacksDue(now);
    if (due.length > MAX_READ_BACKS) return false;
    for (const slot of due) {
      this.#slots.noteReadBack(slot);
      try {
        await this.exclusive(slot.id, (lock) => this.#compare(slot, lock, signal));
      } catch (error) {
        if (!signal.aborted && !(error instanceof OperatorError)) throw error;
        // The next list replaces this read-back.
        return false;
      }
    }
    return true;
  }

  /** Reads the id of `slot` back and reports a change of its content. */
  async #compare({ id, isUncertain, content: before }: Slot, lock: Lock, signal: AbortSignal): Promise<void> {
    const observed = await lock.readFresh(signal);
    if (!isUncertain && before?.canonical === observed?.canonical) return;
    this.#options.log.info(
      { upstreamId: id },
      'the upstream changed after a write that got no response: the write took effect late, or another client changed the upstream; reconciling again',
    );
    this.#options.onLateWrite(id, observed);
  }

  /** Waits until the next list is due. Returns earlier, with the failure, if the gateway fails. */
  async #untilNextList(until: number): Promise<Failure | undefined> {
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

  /** Resolves after `ms`, or earlier when `#wake` is called. */
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
