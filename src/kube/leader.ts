import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import {
  handedOver,
  isConflict,
  type Lease,
  LeaseClient,
  microTime,
  RELEASED,
  successorIn,
  withoutSuccessor,
} from './lease.ts';
import { LeaseObserver } from './lease-observer.ts';
import type { KubeTransport } from './transport.ts';

export { handedOver, type Lease, type LeaseSpec, microTime } from './lease.ts';

/** Decides which of several replicas may write. */
export interface LeaderElection {
  /**
   * Whether a write may start now. Called right before each write. Compares clocks instead of relying on a timer, so that a
   * process that was suspended past its deadline gets `false` as soon as it resumes.
   */
  mayWrite(): boolean;
  /** Why this process can be neither leader nor standby. Undefined as long as it can. */
  problem(): string | undefined;
  /** The current leader, and what this process waits for if it is a standby. Undefined without leader election. */
  leaseStatus(): LeaseStatus | undefined;
  /**
   * Waits until this process is the leader, then runs `work` and renews the lease until `work` ends.
   *
   * - If the lease is lost, the signal of `work` aborts. When `work` has ended, `run` rejects with `LeaseLostError`.
   * - If `signal` aborts, the signal of `work` aborts. When `work` has ended, the lease is released and `run` resolves.
   * - If the Lease names a successor (`LEASE_SUCCESSOR_ANNOTATION`), the signal of `work` aborts. When `work` has ended,
   *   the successor becomes the holder and `run` resolves.
   * - If `work` rejects, `run` rejects. The lease is not released and expires, because writes may still be in flight.
   */
  run(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}

export type LeaseStatus = {
  /** Namespace and name. */
  readonly lease: string;
  readonly identity: string;
  /** Holder of the Lease when it was last read. Empty if there was none. */
  readonly holder: string;
} & ({ readonly role: 'leader' | 'ended' } | { readonly role: 'standby'; readonly waitsFor: string });

export interface LeaderElectionOptions {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly leaseName: string;
  /** Unique to this process: a restarted process on the same host needs another identity. */
  readonly identity: string;
  /** How long standby replicas wait for a leader that does not renew. Rounded up to seconds in the Lease. */
  readonly leaseDurationMs: number;
  /**
   * No write starts later than this after the start of the last successful renewal. Shorter than the lease duration by at
   * least the duration of the longest write.
   */
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

/** Another replica has the lease or may acquire it soon, so this process must stop writing. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/** Rejects a write that a replica tried to start without being the leader. */
export class NotLeaderError extends Error {
  override readonly name = 'NotLeaderError';
}

/** For a single replica without leader election: it may always write. */
export const NO_LEADER_ELECTION: LeaderElection = {
  mayWrite: () => true,
  problem: () => undefined,
  leaseStatus: () => undefined,
  run: (work, signal) => work(signal),
};

/** One period of leadership. */
interface Term {
  readonly acquireTime: string;
  readonly transitions: number;
  /** Start of the last successful renewal, on both clocks. */
  readonly renewed: Moment;
}

interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

type State =
  | { readonly kind: 'standby' }
  | { readonly kind: 'leading'; readonly term: Term }
  /** Lost or released. This process does not become the leader again. */
  | { readonly kind: 'over' };

/** Maximum number of retries after another client has changed the Lease first. */
const MAX_CONFLICTS = 3;
const RELEASE_TIMEOUT_MS = 5000;

/**
 * Leader election by a Lease (`coordination.k8s.io/v1`).
 *
 * Two replicas never write at the same time: the leader starts no write later than `renewDeadlineMs` after the start of its
 * last renewal, so all its writes have ended before a standby considers the lease expired (see `LeaseObserver`).
 */
export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const election = new LeaseElection(options);
  return {
    mayWrite: () => election.mayWrite(),
    problem: () => election.problem(),
    leaseStatus: () => election.leaseStatus(),
    run: (work, signal) => election.run(work, signal),
  };
}

class LeaseElection {
  readonly #options: LeaderElectionOptions;
  readonly #client: LeaseClient;
  readonly #observer: LeaseObserver;
  readonly #lost = new AbortController();
  /** Aborts when the Lease names a successor. */
  readonly #handover = new AbortController();
  #state: State = { kind: 'standby' };
  /** The Lease as last written by this process. Undefined if it must be read first. */
  #written: Lease | undefined;
  /** Whether the Lease may name this process as holder. */
  #mayHoldLease = false;
  /** Why the last attempt failed. */
  #lastError: string | undefined;
  /** The replica that gets the Lease when the work has ended. Undefined: any standby. */
  #successor: string | undefined;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#client = new LeaseClient(options.transport, options.namespace, options.leaseName);
    this.#observer = new LeaseObserver(options);
  }

  async run(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    await this.#acquire(signal);
    if (this.#state.kind === 'leading' && !signal.aborted) await this.#lead(work, signal);
    this.#lost.signal.throwIfAborted();
    await this.#release();
  }

  mayWrite(): boolean {
    if (this.#state.kind !== 'leading') return false;
    if (this.#leftMs(this.#state.term) > 0) return true;
    const why = this.#lastError === undefined ? '' : `: ${this.#lastError}`;
    this.#lose(`it was not renewed within ${this.#options.renewDeadlineMs} ms${why}`);
    return false;
  }

  problem(): string | undefined {
    const { aborted, reason } = this.#lost.signal;
    return aborted ? (reason as Error).message : undefined;
  }

  leaseStatus(): LeaseStatus {
    const { namespace, leaseName, identity } = this.#options;
    const about = { lease: `${namespace}/${leaseName}`, identity };
    if (this.mayWrite()) return { ...about, role: 'leader', holder: identity };
    const { holder } = this.#observer;
    return this.#state.kind === 'standby'
      ? { ...about, role: 'standby', holder, waitsFor: this.#observer.waitsFor() }
      : { ...about, role: 'ended', holder };
  }

  async #acquire(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await this.#attempt(signal);
    await this.#keepTrying(() => this.#state.kind === 'standby', signal);
  }

  /** Runs `work`, and renews the lease until `work` has ended. */
  async #lead(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    const renewing = this.#keepTrying(() => this.mayWrite(), done.signal);
    try {
      await work(AbortSignal.any([signal, this.#lost.signal, this.#handover.signal]));
    } finally {
      done.abort();
      await renewing;
    }
  }

  /** Tries to acquire or renew every `retryPeriodMs` while `wanted` returns true, until the signal aborts. */
  async #keepTrying(wanted: () => boolean, signal: AbortSignal): Promise<void> {
    const { clock, retryPeriodMs } = this.#options;
    while (!signal.aborted && wanted()) {
      const pauseMs =
        this.#state.kind === 'leading'
          ? Math.min(retryPeriodMs, this.#leftMs(this.#state.term))
          : retryPeriodMs;
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      if (!signal.aborted && wanted()) await this.#attempt(signal);
    }
  }

  /**
   * Acquires or renews the lease, and retries after a conflict. Other errors are only logged, because the next attempt
   * follows.
   */
  async #attempt(signal: AbortSignal): Promise<void> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      try {
        await this.#acquireOrRenew(signal);
        this.#lastError = undefined;
        return;
      } catch (error) {
        this.#written = undefined;
        if (signal.aborted) return;
        if (isConflict(error)) continue;
        this.#reportError(error instanceof Error ? error.message : 'unknown reason');
        return;
      }
    }
  }

  /** Writes nothing if another process has the lease. */
  async #acquireOrRenew(signal: AbortSignal): Promise<void> {
    const lease = this.#written ?? (await this.#client.read({ signal, timeoutMs: this.#timeoutMs() }));
    const before = this.#state;
    // The lease was lost while it was read. It may still name this process, but the signal of the work has aborted.
    if (before.kind === 'over') return;
    const term = before.kind === 'leading' ? this.#renewable(lease, before.term) : this.#acquirable(lease);
    if (term === undefined) return;
    const renewed = this.#now();
    // A successor named under an earlier holder does not apply to this process.
    const base = before.kind === 'leading' ? lease : withoutSuccessor(lease);
    await this.#claim(base, { ...term, renewed }, signal);
    // If the deadline passed before the response arrived, the lease stays lost.
    if (before.kind === 'leading' && !this.mayWrite()) return;
    this.#state = { kind: 'leading', term: { ...term, renewed } };
    if (before.kind === 'standby' && this.mayWrite()) {
      const { log, leaseName, identity } = this.#options;
      log.info({ lease: leaseName, identity, transitions: term.transitions }, 'became the leader');
    }
  }

  /** The term to continue. Undefined if it is over. */
  #renewable(lease: Lease | undefined, term: Term): Omit<Term, 'renewed'> | undefined {
    const holder = lease?.spec?.holderIdentity ?? '';
    if (lease !== undefined && holder !== this.#options.identity) {
      this.#lose(holder === '' ? 'another client cleared its holder' : `its holder is now ${holder}`);
      return undefined;
    }
    if (!this.mayWrite()) return undefined;
    this.#stepDownForSuccessor(lease);
    return term;
  }

  /** The term to start. Undefined while another process has the lease. */
  #acquirable(lease: Lease | undefined): Omit<Term, 'renewed'> | undefined {
    if (!this.#observer.observe(lease)) return undefined;
    const { clock, identity } = this.#options;
    const { holderIdentity, leaseTransitions = 0 } = lease?.spec ?? {};
    return {
      acquireTime: microTime(clock.now()),
      transitions:
        lease === undefined || holderIdentity === identity ? leaseTransitions : leaseTransitions + 1,
    };
  }

  /** Writes this process into the Lease as its holder. */
  async #claim(lease: Lease | undefined, term: Term, signal: AbortSignal): Promise<void> {
    const { identity, leaseDurationMs } = this.#options;
    this.#mayHoldLease = true;
    this.#written = await this.#client.write(
      lease,
      {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
        acquireTime: term.acquireTime,
        renewTime: microTime(term.renewed.wall),
        leaseTransitions: term.transitions,
      },
      { signal, timeoutMs: this.#timeoutMs() },
    );
  }

  /** Stops the work if the Lease names a successor. The lease is renewed until the work has ended. */
  #stepDownForSuccessor(lease: Lease | undefined): void {
    const successor = successorIn(lease);
    if (successor === '' || this.#handover.signal.aborted) return;
    const { log, leaseName, identity } = this.#options;
    this.#successor = successor;
    log.info({ lease: leaseName, identity, successor }, 'handing the lease over to its named successor');
    this.#handover.abort();
  }

  #lose(reason: string): void {
    if (this.#state.kind !== 'leading') return;
    const { log, namespace, leaseName, identity } = this.#options;
    this.#state = { kind: 'over' };
    log.error({ lease: leaseName, identity, reason }, 'lost the lease');
    this.#lost.abort(new LeaseLostError(`lost Lease ${namespace}/${leaseName}: ${reason}`));
  }

  #reportError(message: string): void {
    const { log, leaseName } = this.#options;
    if (this.#lastError !== message)
      log.warn({ lease: leaseName }, `cannot acquire or renew the lease: ${message}`);
    this.#lastError = message;
  }

  async #release(): Promise<void> {
    this.#state = { kind: 'over' };
    if (!this.#mayHoldLease) return;
    const { log, leaseName } = this.#options;
    for (let conflicts = 0; ; conflicts += 1) {
      try {
        await this.#releaseOnce(new AbortController().signal);
        return;
      } catch (err) {
        this.#written = undefined;
        if (isConflict(err) && conflicts < MAX_CONFLICTS) continue;
        log.warn(
          { err, lease: leaseName },
          'could not release the lease; other replicas wait until it expires',
        );
        return;
      }
    }
  }

  async #releaseOnce(signal: AbortSignal): Promise<void> {
    const { clock, log, leaseName, identity } = this.#options;
    // An aborted request may have changed the Lease, so read it unless its content is known.
    const lease = this.#written ?? (await this.#client.read({ signal, timeoutMs: this.#timeoutMs() }));
    if (lease?.spec?.holderIdentity !== identity) return;
    this.#stepDownForSuccessor(lease);
    const successor = this.#successor;
    const time = microTime(clock.now());
    const next = successor === undefined ? RELEASED : handedOver(lease, successor, time);
    await this.#client.write(
      withoutSuccessor(lease),
      { ...next, renewTime: time },
      { signal, timeoutMs: RELEASE_TIMEOUT_MS },
    );
    log.info({ lease: leaseName, identity, successor }, 'released the lease');
  }

  #now(): Moment {
    const { clock } = this.#options;
    return { monotonic: clock.monotonic(), wall: clock.now() };
  }

  /**
   * Milliseconds until the deadline. The clock that has advanced further counts, so a wall clock set back has no effect.
   */
  #leftMs({ renewed }: Term): number {
    const { monotonic, wall } = this.#now();
    return this.#options.renewDeadlineMs - Math.max(monotonic - renewed.monotonic, wall - renewed.wall);
  }

  /** Half of the deadline, so that a request that hangs leaves time for another one. Never beyond the deadline. */
  #timeoutMs(): number {
    const { renewDeadlineMs } = this.#options;
    const left = this.#state.kind === 'leading' ? this.#leftMs(this.#state.term) : renewDeadlineMs;
    return Math.max(1, Math.ceil(Math.min(renewDeadlineMs / 2, left)));
  }
}

/** Wraps `transport`: a write rejects with `NotLeaderError` unless `mayWrite` returns true right before it starts. */
export function guardWrites(transport: KubeTransport, mayWrite: () => boolean): KubeTransport {
  return {
    get: (path, settings) => transport.get(path, settings),
    watch: (path, settings) => transport.watch(path, settings),
    close: () => transport.close(),
    async send(request) {
      if (!mayWrite()) throw new NotLeaderError('this replica is not the leader and must not write');
      return await transport.send(request);
    },
  };
}
