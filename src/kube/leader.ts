import { LEASE_SUCCESSOR_ANNOTATION } from '../api/group.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { KubeApiError } from './kube-error.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

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

/** A Lease of `coordination.k8s.io/v1`, with the parts that matter to an election. */
export interface Lease {
  readonly metadata: {
    readonly resourceVersion?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly spec?: LeaseSpec;
}

export interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/** What a standby knows of the lease. */
interface Seen {
  /** Undefined while there is no Lease. */
  readonly version: string | undefined;
  /** Monotonic time at which this process saw that version first. */
  readonly at: number;
  /** Empty if nobody has it. */
  readonly holder: string;
  readonly durationMs: number;
}

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

/** Between two readings of a Lease that somebody changed at the same moment. */
const MAX_CONFLICTS = 3;
const RELEASE_TIMEOUT_MS = 5000;
/** What a released Lease says, as Kubernetes' own components write it: whoever comes next need not wait. */
const RELEASED: LeaseSpec = { holderIdentity: '', leaseDurationSeconds: 1 };
/** A successor does not renew: for so long nobody else leads. */
const HANDED_OVER_SECONDS = 30;

/**
 * Leader election by a Lease (`coordination.k8s.io/v1`).
 *
 * Clocks of two machines are never compared: whether another's lease has expired is judged by the time that passed here
 * since its record changed last. So a leader that stops writing `renewDeadlineMs` after its last renewal began has ended
 * every write before anybody else counts to the end of the lease.
 */
export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const { transport, clock, log, namespace, leaseName, identity, retryPeriodMs, renewDeadlineMs } = options;
  const address = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespace };
  const path = resourcePath({ ...address, name: leaseName });
  const lost = new AbortController();
  let state: State = { kind: 'standby' };
  let seen: Seen | undefined;
  /** The Lease as this process wrote it last; undefined where it has to be read first. */
  let written: Lease | undefined;
  /** Set as soon as the Lease may name this process. */
  let claimed = false;
  let complaint: string | undefined;
  const asked = new AbortController();
  /** Who gets the Lease when the work has ended; undefined: whoever comes next. */
  let successor: string | undefined;

  const now = (): Moment => ({ monotonic: clock.monotonic(), wall: clock.now() });

  /** Milliseconds until the right to write ends. A wall clock that went back takes nothing away and adds nothing. */
  const leftMs = ({ renewed }: Term): number => {
    const { monotonic, wall } = now();
    return renewDeadlineMs - Math.max(monotonic - renewed.monotonic, wall - renewed.wall);
  };

  const lose = (reason: string): void => {
    if (state.kind !== 'leading') return;
    state = { kind: 'over' };
    log.error({ lease: leaseName, identity, reason }, 'lost the lease');
    lost.abort(new LeaseLostError(`the lease ${namespace}/${leaseName} is lost: ${reason}`));
  };

  /** The work ends, and is renewed for until it has; then the successor becomes the holder. */
  const stepDownIfAsked = (lease: Lease | undefined): void => {
    const named = lease?.metadata.annotations?.[LEASE_SUCCESSOR_ANNOTATION] ?? '';
    if (named === '' || asked.signal.aborted) return;
    successor = named;
    log.info({ lease: leaseName, identity, successor }, 'asked to hand the lease over');
    asked.abort();
  };

  const mayWrite = (): boolean => {
    if (state.kind !== 'leading') return false;
    if (leftMs(state.term) > 0) return true;
    lose(`it was not renewed within ${renewDeadlineMs} ms${complaint === undefined ? '' : `: ${complaint}`}`);
    return false;
  };

  /** Half of the deadline, so that one request that hangs leaves time for another; never beyond the deadline. */
  const timeoutMs = (): number => {
    const left = state.kind === 'leading' ? leftMs(state.term) : renewDeadlineMs;
    return Math.max(1, Math.ceil(Math.min(renewDeadlineMs / 2, left)));
  };

  const read = async (signal: AbortSignal): Promise<Lease | undefined> => {
    try {
      return (await transport.get(path, { signal, timeoutMs: timeoutMs() })) as Lease;
    } catch (error) {
      if (error instanceof KubeApiError && error.status === 404) return undefined;
      throw error;
    }
  };

  /** Creates the Lease, or replaces it if nobody has changed it since it was read. */
  const write = async (
    lease: Lease | undefined,
    spec: LeaseSpec,
    settings: { readonly signal: AbortSignal; readonly timeoutMs: number },
  ): Promise<Lease> => {
    const body = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: lease?.metadata ?? { name: leaseName, namespace },
      spec: { ...lease?.spec, ...spec },
    };
    const request =
      lease === undefined
        ? { method: 'POST' as const, path: resourcePath(address) }
        : { method: 'PUT' as const, path };
    return (await transport.send({ ...request, body, ...settings })) as Lease;
  };

  /** Takes note of what a standby reads. */
  const observe = (lease: Lease | undefined): Seen => {
    const version = lease?.metadata.resourceVersion;
    if (seen !== undefined && seen.version === version) return seen;
    const { holderIdentity, leaseDurationSeconds } = lease?.spec ?? {};
    const before = seen;
    seen = {
      version,
      at: clock.monotonic(),
      // Deleted by hand under a leader that lives: it will make it again, and until it has it goes on writing.
      holder: lease === undefined ? (before?.holder ?? '') : (holderIdentity ?? ''),
      // The holder's own word, since it may run with other settings than this process.
      durationMs:
        leaseDurationSeconds === undefined
          ? (before?.durationMs ?? options.leaseDurationMs)
          : leaseDurationSeconds * 1000,
    };
    if (seen.holder !== '' && seen.holder !== identity && seen.holder !== before?.holder) {
      log.info({ lease: leaseName, identity, holder: seen.holder, waitsFor: waitsFor() }, 'standby');
    }
    return seen;
  };

  /** For what a standby waits. */
  const waitsFor = (): string => {
    if (seen === undefined) return `the API server to show Lease ${namespace}/${leaseName}`;
    const { holder, durationMs } = seen;
    if (holder === '' || holder === identity) return `Lease ${namespace}/${leaseName}, which is free`;
    return `${holder} to release Lease ${namespace}/${leaseName}, or not to renew it for ${durationMs / 1000} s`;
  };

  const isFree = ({ holder, at, durationMs }: Seen): boolean =>
    holder === '' || holder === identity || clock.monotonic() - at >= durationMs;

  /** One try to take the lease or to renew it. Returns without having done so where another one has it. */
  const attempt = async (signal: AbortSignal): Promise<void> => {
    const lease = written ?? (await read(signal));
    let term: Omit<Term, 'renewed'>;
    if (state.kind === 'leading') {
      const holder = lease?.spec?.holderIdentity ?? '';
      if (lease !== undefined && holder !== identity) {
        lose(holder === '' ? 'somebody took its holder from it' : `${holder} has it`);
        return;
      }
      if (!mayWrite()) return;
      ({ term } = state);
      stepDownIfAsked(lease);
    } else {
      if (!isFree(observe(lease))) return;
      const { holderIdentity, leaseTransitions = 0 } = lease?.spec ?? {};
      term = {
        acquireTime: microTime(clock.now()),
        transitions:
          lease === undefined || holderIdentity === identity ? leaseTransitions : leaseTransitions + 1,
      };
    }
    const before = state.kind;
    const renewed = now();
    claimed = true;
    written = await write(
      // A request for the one before is not one for this process.
      before === 'leading' ? lease : withoutSuccessor(lease),
      {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(options.leaseDurationMs / 1000),
        acquireTime: term.acquireTime,
        renewTime: microTime(renewed.wall),
        leaseTransitions: term.transitions,
      },
      { signal, timeoutMs: timeoutMs() },
    );
    // The right to write may have ended while the answer was under way; then it stays so.
    if (before === 'leading' && !mayWrite()) return;
    state = { kind: 'leading', term: { ...term, renewed } };
    if (before === 'standby' && mayWrite()) {
      log.info({ lease: leaseName, identity, transitions: term.transitions }, 'leader');
    }
  };

  /** `attempt`, read and tried again where somebody else was faster. What fails otherwise is only told: it comes again. */
  const attemptOnce = async (signal: AbortSignal): Promise<void> => {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      try {
        await attempt(signal);
        complaint = undefined;
        return;
      } catch (error) {
        written = undefined;
        if (signal.aborted) return;
        if (isConflict(error)) continue;
        const message = error instanceof Error ? error.message : 'unknown reason';
        if (complaint !== message) log.warn({ lease: leaseName }, `the lease cannot be had: ${message}`);
        complaint = message;
        return;
      }
    }
  };

  /** Tries every `retryPeriodMs` while `wanted`, until the signal aborts. */
  const keepTrying = async (wanted: () => boolean, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted && wanted()) {
      const pauseMs = state.kind === 'leading' ? Math.min(retryPeriodMs, leftMs(state.term)) : retryPeriodMs;
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      if (!signal.aborted && wanted()) await attemptOnce(signal);
    }
  };

  const release = async (): Promise<void> => {
    state = { kind: 'over' };
    if (!claimed) return;
    const settings = { signal: new AbortController().signal, timeoutMs: RELEASE_TIMEOUT_MS };
    for (let conflicts = 0; ; conflicts += 1) {
      try {
        // What was under way when it was called off may have changed the Lease.
        const lease = written ?? (await read(settings.signal));
        if (lease?.spec?.holderIdentity !== identity) return;
        stepDownIfAsked(lease);
        const time = microTime(clock.now());
        const next = successor === undefined ? RELEASED : handedOver(lease, successor, time);
        await write(withoutSuccessor(lease), { ...next, renewTime: time }, settings);
        log.info({ lease: leaseName, identity, successor }, 'released the lease');
        return;
      } catch (err) {
        written = undefined;
        if (isConflict(err) && conflicts < MAX_CONFLICTS) continue;
        log.warn({ err, lease: leaseName }, 'the lease could not be released; others wait for it to expire');
        return;
      }
    }
  };

  return {
    mayWrite,

    problem: () => (lost.signal.aborted ? (lost.signal.reason as Error).message : undefined),

    standing() {
      const about = { lease: `${namespace}/${leaseName}`, identity };
      if (mayWrite()) return { ...about, role: 'leader', holder: identity };
      const holder = seen?.holder ?? '';
      return state.kind === 'standby'
        ? { ...about, role: 'standby', holder, waitsFor: waitsFor() }
        : { ...about, role: 'ended', holder };
    },

    async run(work, signal) {
      if (!signal.aborted) await attemptOnce(signal);
      await keepTrying(() => state.kind === 'standby', signal);
      if (state.kind === 'leading' && !signal.aborted) {
        const done = new AbortController();
        const renewing = keepTrying(mayWrite, done.signal);
        try {
          await work(AbortSignal.any([signal, lost.signal, asked.signal]));
        } finally {
          done.abort();
          await renewing;
        }
      }
      lost.signal.throwIfAborted();
      await release();
    },
  };
}

/** What a Lease says that `successor` gets from its holder. */
export function handedOver({ spec }: Lease, successor: string, time: string): LeaseSpec {
  return {
    holderIdentity: successor,
    leaseDurationSeconds: HANDED_OVER_SECONDS,
    acquireTime: time,
    leaseTransitions: (spec?.leaseTransitions ?? 0) + 1,
  };
}

function withoutSuccessor<T extends Lease | undefined>(lease: T): T {
  if (lease?.metadata.annotations === undefined) return lease;
  const { [LEASE_SUCCESSOR_ANNOTATION]: _, ...annotations } = lease.metadata.annotations;
  return { ...lease, metadata: { ...lease.metadata, annotations } };
}

/** `transport` with writes that reject with `NotLeaderError` unless `mayWrite` says yes right before they begin. */
export function guardWrites(transport: KubeTransport, mayWrite: () => boolean): KubeTransport {
  return {
    get: (path, settings) => transport.get(path, settings),
    watch: (path, settings) => transport.watch(path, settings),
    close: () => transport.close(),
    async send(request) {
      if (!mayWrite()) throw new NotLeaderError('this replica is not the leader, and writes nothing');
      return await transport.send(request);
    },
  };
}

/** Somebody changed, made or deleted the Lease since it was read. */
function isConflict(error: unknown): boolean {
  return error instanceof KubeApiError && error.status === 409;
}

/** As the API server wants a MicroTime: RFC 3339 with six digits. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
