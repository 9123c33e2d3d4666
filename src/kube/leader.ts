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

/** Which one of several replicas may write. */
export interface LeaderElection {
  /**
   * Whether a write may begin at this very moment: asked right before each one. Answers by the clocks and not by a timer,
   * so that a process that was stopped for a while knows in the first moment of its new life that its time is over.
   */
  mayWrite(): boolean;
  /** Why this process can neither lead nor stand by; undefined as long as it can. */
  problem(): string | undefined;
  /** Who writes, and for what this process waits if that is another one. Undefined where no Lease decides. */
  standing(): LeaseStanding | undefined;
  /**
   * Stands by until the lease is ours, then runs `work` until it ends, and renews meanwhile.
   *
   * - The lease is lost: the signal of `work` aborts; when `work` has ended this rejects with `LeaseLostError`.
   * - `signal` aborts: so does that of `work`; when it has ended the lease is released and this resolves.
   * - The Lease names a successor (`LEASE_SUCCESSOR_ANNOTATION`): so does that of `work`; when it has ended the successor
   *   becomes the holder and this resolves.
   * - `work` rejects: so does this. The lease is left to expire, since writes may be under way.
   */
  run(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}

export type LeaseStanding = {
  /** Namespace and name. */
  readonly lease: string;
  readonly identity: string;
  /** Who had the Lease when it was read last; empty: nobody. */
  readonly holder: string;
} & ({ readonly role: 'leader' | 'ended' } | { readonly role: 'standby'; readonly waitsFor: string });

export interface LeaderElectionOptions {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly leaseName: string;
  /** Names this process and no other, not even its own successor on the same host. */
  readonly identity: string;
  /** How long others wait for a leader that says nothing. In the Lease it is rounded up to seconds. */
  readonly leaseDurationMs: number;
  /** No write begins later than this after the last successful renewal began. Shorter than the lease by the longest write. */
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

/** Another replica has the lease, or may have it soon: this process may write nothing any more. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/** Rejects a write that was about to begin without the right to. */
export class NotLeaderError extends Error {
  override readonly name = 'NotLeaderError';
}

/** For a program that is alone by other means. */
export const UNOPPOSED: LeaderElection = {
  mayWrite: () => true,
  problem: () => undefined,
  standing: () => undefined,
  run: (work, signal) => work(signal),
};

/** What the leader writes for as long as it leads. */
interface Term {
  readonly acquireTime: string;
  readonly transitions: number;
  /** When the last successful renewal began, on both clocks. */
  readonly renewed: Moment;
}

interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

type State =
  | { readonly kind: 'standby' }
  | { readonly kind: 'leading'; readonly term: Term }
  /** Lost or given back, for good. */
  | { readonly kind: 'over' };

/** How often a change of the Lease is tried again because another writer changed it first. */
const MAX_CONFLICTS = 3;
const RELEASE_TIMEOUT_MS = 5000;

/**
 * Leader election by a Lease (`coordination.k8s.io/v1`).
 *
 * A leader that stops writing `renewDeadlineMs` after its last renewal began has ended every write before any standby has
 * counted to the end of the lease (see `LeaseObserver`).
 */
export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const election = new LeaseElection(options);
  return {
    mayWrite: () => election.mayWrite(),
    problem: () => election.problem(),
    standing: () => election.standing(),
    run: (work, signal) => election.run(work, signal),
  };
}

class LeaseElection {
  readonly #options: LeaderElectionOptions;
  readonly #client: LeaseClient;
  readonly #observer: LeaseObserver;
  readonly #lost = new AbortController();
  /** Aborts when the Lease names a successor. */
  readonly #asked = new AbortController();
  #state: State = { kind: 'standby' };
  /** The Lease as this process wrote it last; undefined where it has to be read first. */
  #written: Lease | undefined;
  /** Set as soon as the Lease may name this process. */
  #claimed = false;
  /** Why the last attempt failed. */
  #complaint: string | undefined;
  /** Who gets the Lease when the work has ended; undefined: any standby. */
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
    const why = this.#complaint === undefined ? '' : `: ${this.#complaint}`;
    this.#lose(`it was not renewed within ${this.#options.renewDeadlineMs} ms${why}`);
    return false;
  }

  problem(): string | undefined {
    const { aborted, reason } = this.#lost.signal;
    return aborted ? (reason as Error).message : undefined;
  }

  standing(): LeaseStanding {
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

  /** Runs `work` and renews the lease until it has ended. */
  async #lead(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    const renewing = this.#keepTrying(() => this.mayWrite(), done.signal);
    try {
      await work(AbortSignal.any([signal, this.#lost.signal, this.#asked.signal]));
    } finally {
      done.abort();
      await renewing;
    }
  }

  /** Tries every `retryPeriodMs` while `wanted`, until the signal aborts. */
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

  /** Acquires or renews, and starts over after a conflict. Other failures are only logged: the next attempt follows. */
  async #attempt(signal: AbortSignal): Promise<void> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      try {
        await this.#acquireOrRenew(signal);
        this.#complaint = undefined;
        return;
      } catch (error) {
        this.#written = undefined;
        if (signal.aborted) return;
        if (isConflict(error)) continue;
        this.#complain(error instanceof Error ? error.message : 'unknown reason');
        return;
      }
    }
  }

  /** Returns without having written where another process has the lease. */
  async #acquireOrRenew(signal: AbortSignal): Promise<void> {
    const lease = this.#written ?? (await this.#client.read({ signal, timeoutMs: this.#timeoutMs() }));
    const before = this.#state;
    // The right to write ended while the Lease was read. It may still name this process, but the work was told to end.
    if (before.kind === 'over') return;
    const term = before.kind === 'leading' ? this.#renewable(lease, before.term) : this.#acquirable(lease);
    if (term === undefined) return;
    const renewed = this.#now();
    // A successor that was named to an earlier holder does not concern this process.
    const base = before.kind === 'leading' ? lease : withoutSuccessor(lease);
    await this.#claim(base, { ...term, renewed }, signal);
    // If the right to write ended while the answer was under way, it stays ended.
    if (before.kind === 'leading' && !this.mayWrite()) return;
    this.#state = { kind: 'leading', term: { ...term, renewed } };
    if (before.kind === 'standby' && this.mayWrite()) {
      const { log, leaseName, identity } = this.#options;
      log.info({ lease: leaseName, identity, transitions: term.transitions }, 'became the leader');
    }
  }

  /** The term to go on with; undefined where it is over. */
  #renewable(lease: Lease | undefined, term: Term): Omit<Term, 'renewed'> | undefined {
    const holder = lease?.spec?.holderIdentity ?? '';
    if (lease !== undefined && holder !== this.#options.identity) {
      this.#lose(holder === '' ? 'another client cleared its holder' : `its holder is now ${holder}`);
      return undefined;
    }
    if (!this.mayWrite()) return undefined;
    this.#stepDownIfAsked(lease);
    return term;
  }

  /** The term to begin; undefined while the lease is another process's. */
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

  /** Writes this process into the Lease. */
  async #claim(lease: Lease | undefined, term: Term, signal: AbortSignal): Promise<void> {
    const { identity, leaseDurationMs } = this.#options;
    this.#claimed = true;
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

  /** Ends the work. The lease is renewed until it has ended; then the successor becomes the holder. */
  #stepDownIfAsked(lease: Lease | undefined): void {
    const successor = successorIn(lease);
    if (successor === '' || this.#asked.signal.aborted) return;
    const { log, leaseName, identity } = this.#options;
    this.#successor = successor;
    log.info({ lease: leaseName, identity, successor }, 'handing the lease over to its named successor');
    this.#asked.abort();
  }

  #lose(reason: string): void {
    if (this.#state.kind !== 'leading') return;
    const { log, namespace, leaseName, identity } = this.#options;
    this.#state = { kind: 'over' };
    log.error({ lease: leaseName, identity, reason }, 'lost the lease');
    this.#lost.abort(new LeaseLostError(`lost Lease ${namespace}/${leaseName}: ${reason}`));
  }

  #complain(message: string): void {
    const { log, leaseName } = this.#options;
    if (this.#complaint !== message)
      log.warn({ lease: leaseName }, `cannot acquire or renew the lease: ${message}`);
    this.#complaint = message;
  }

  async #release(): Promise<void> {
    this.#state = { kind: 'over' };
    if (!this.#claimed) return;
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
    // A request that was aborted may have changed the Lease.
    const lease = this.#written ?? (await this.#client.read({ signal, timeoutMs: this.#timeoutMs() }));
    if (lease?.spec?.holderIdentity !== identity) return;
    this.#stepDownIfAsked(lease);
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

  /** Milliseconds until the right to write ends. A wall clock that went back takes nothing away and adds nothing. */
  #leftMs({ renewed }: Term): number {
    const { monotonic, wall } = this.#now();
    return this.#options.renewDeadlineMs - Math.max(monotonic - renewed.monotonic, wall - renewed.wall);
  }

  /** Half of the deadline, so that one request that hangs leaves time for another; never beyond the deadline. */
  #timeoutMs(): number {
    const { renewDeadlineMs } = this.#options;
    const left = this.#state.kind === 'leading' ? this.#leftMs(this.#state.term) : renewDeadlineMs;
    return Math.max(1, Math.ceil(Math.min(renewDeadlineMs / 2, left)));
  }
}

/** `transport` with writes that reject with `NotLeaderError` unless `mayWrite` says yes right before they begin. */
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
