import { isDeepStrictEqual } from 'node:util';
import type { Departed, Discovered, RemovalCause } from '../../model/discovered.ts';
import type { Endpoint } from '../../model/endpoint.ts';
import type { FollowedState } from '../../model/registry-facts.ts';
import { type Backoff, createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { ServiceQuery } from '../registry.ts';
import type { SourceChange } from '../source.ts';
import { knownAnswer, neverListedAnswer } from './answers.ts';
import { askOneServer, type FailOverDeps } from './fail-over.ts';
import type { RegistryHealth } from './health.ts';
import { Pace, type SharedPace } from './pace.ts';
import { type InstancesAnswer, RegistryError, ServiceNotAllowed } from './protocol.ts';
import { type QuerySlots, SlotNeeded } from './query-slots.ts';
import { RemovedInstances } from './removed-instances.ts';
import type { Holder, Retained } from './retained.ts';
import { problemForUsers } from './user-problem.ts';
import { Views } from './views.ts';

/** After the registry answered nothing for this long, the last answers no longer count as current. */
const PROOF_OF_LIFE_MS = 60_000;

const RETRY = { baseMs: 500, factor: 2, maxMs: 15_000, jitter: 0.5 } as const;

/** Reason with which queries are ended because a credential has changed. */
export class CredentialsChanged extends Error {
  override readonly name = 'CredentialsChanged';
}

/** What all followers of one registry share. */
export interface FollowerDeps<Instance, Cursor> extends FailOverDeps<Instance, Cursor> {
  /** Name of the ServiceRegistry. */
  readonly name: string;
  readonly health: RegistryHealth;
  readonly slots: QuerySlots;
  readonly sharedPace: SharedPace;
  readonly retained: Retained;
  readonly clock: Clock;
  readonly random: () => number;
  readonly requestTimeoutMs: number;
  readonly pollIntervalMs: number;
  /** Aborts when a credential changes; another signal takes its place then. */
  readonly credentials: () => AbortSignal;
  /** Aborts when the registry answers again after no server did; another signal takes its place then. */
  readonly recovery: () => AbortSignal;
  readonly answered: () => void;
  readonly failed: (error: unknown) => void;
}

/** Keeps the last answer for one service of one registry, and asks for the next one. */
export class Follower<Instance, Cursor> implements Holder {
  readonly #deps: FollowerDeps<Instance, Cursor>;
  readonly #query: ServiceQuery;
  readonly #listeners = new Map<symbol, (what: SourceChange) => void>();
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  readonly #pace: Pace;
  /** When the service last answered, monotonic. */
  #answeredAt: number;
  #removed: RemovedInstances<Instance>;
  #cursor: Cursor | undefined;
  /** Of the last complete answer. */
  #instances: readonly Instance[] | undefined;
  /** Of the last complete answer, without the filters of any backend. */
  #endpoints: readonly Endpoint[] = [];
  /** The service had an instance at some time. */
  #wasSeen = false;
  /** Why the last complete answer is not current, for the users of the service. */
  #problem: string | undefined;
  /** With servers and Secrets. */
  #cause: string | undefined;
  #isAllowed = true;
  #isBeginning = true;
  /** The last request failed, and the one before it was answered: one failure is no outage yet. */
  #isDoubted = false;
  /** The last pause ended early, because the registry answered something else. */
  #wasWoken = false;
  /** The credentials with which the registry has answered. */
  #accepted: AbortSignal | undefined;
  #state: FollowedState = 'waiting';
  /** What `read` made of the last answer. */
  readonly #views = new Views<Discovered>();

  constructor(deps: FollowerDeps<Instance, Cursor>, query: ServiceQuery) {
    this.#deps = deps;
    this.#query = query;
    this.#removed = new RemovedInstances(deps.protocol);
    this.#backoff = createBackoff({ ...RETRY, random: deps.random });
    this.#pace = new Pace(deps.clock, deps.sharedPace);
    this.#answeredAt = deps.clock.monotonic();
  }

  get isUnused(): boolean {
    return this.#listeners.size === 0;
  }

  get state(): FollowedState {
    return this.#state;
  }

  /** Why the last answer is not current, for the platform team. */
  get problem(): string | undefined {
    return this.#problem === undefined ? undefined : this.#cause;
  }

  get endpoints(): readonly Endpoint[] {
    return this.#endpoints;
  }

  listen(changed: (what: SourceChange) => void): Disposable {
    const token = Symbol('listener');
    this.#listeners.set(token, changed);
    return { [Symbol.dispose]: () => void this.#listeners.delete(token) };
  }

  stop(): void {
    this.#stop.abort();
    this.#deps.slots.unseen.delete(this);
    this.#deps.retained.release(this);
  }

  /** The next answer is asked for without a cursor, so it is complete. */
  forget(why: RegistryError): void {
    this.#cursor = undefined;
    this.#instances = undefined;
    this.#endpoints = [];
    this.#removed = new RemovedInstances(this.#deps.protocol);
    this.#lose(why);
  }

  read(options: unknown): Discovered {
    return this.#views.get(options, () => this.#view(options));
  }

  cause(departed: Departed, options: unknown): RemovalCause {
    return this.#removed.cause(departed, options, this.#problem === undefined);
  }

  /** Asks until the signal aborts, or `stop` is called. */
  async run(signal: AbortSignal): Promise<void> {
    const stopped = AbortSignal.any([signal, this.#stop.signal]);
    while (!stopped.aborted) {
      try {
        await this.#turn(stopped);
      } catch (error) {
        if (stopped.aborted) return;
        throw error;
      }
    }
  }

  /** One complete answer or one failure, and the pause after it. */
  async #turn(stopped: AbortSignal): Promise<void> {
    const { clock, credentials, failed, recovery } = this.#deps;
    const recovered = recovery();
    try {
      const before = this.#cursor;
      const answer = await this.#ask(stopped);
      if (answer.instances !== undefined) this.#retain(answer.instances);
      // The instances that have not changed were forgotten while the registry waited for a change.
      else if (this.#cursor !== before) return;
      this.#take(answer);
      this.#backoff.reset();
      const pauseMs = this.#pauseMs(answer);
      if (pauseMs > 0) await clock.sleep(pauseMs, AbortSignal.any([stopped, credentials()]));
    } catch (error) {
      if (stopped.aborted) throw error;
      if (error instanceof SlotNeeded || error instanceof CredentialsChanged) return;
      failed(error);
      const isServer = error instanceof RegistryError && error.scope === 'server';
      // The status of every user of the service would change twice.
      const isTolerated = isServer && this.#problem === undefined && !this.#isBeginning && !this.#isDoubted;
      if (isTolerated) this.#isDoubted = true;
      else this.#lose(error);
      // If this service alone fails, the answers for others must not cut its back-off short each time.
      const mayWake = isServer && !this.#wasWoken;
      const again = AbortSignal.any([stopped, credentials(), ...(mayWake ? [recovered] : [])]);
      this.#wasWoken = false;
      await clock.sleep(this.#backoff.next(), again).catch(() => {
        stopped.throwIfAborted();
        this.#wasWoken = mayWake && recovered.aborted;
      });
    }
  }

  #pauseMs({ instances, read }: InstancesAnswer<Instance, Cursor>): number {
    const { pollIntervalMs, protocol, random, slots } = this.#deps;
    const roundMs = this.#wasSeen ? 0 : slots.unseenRoundMs;
    // Without jitter all services of a registry would be asked for at the same moment.
    const spread = 0.9 + 0.2 * random();
    return protocol.blocking
      ? Math.max(this.#pace.pauseAfter(instances?.length, read), roundMs * spread)
      : Math.max(pollIntervalMs, roundMs) * spread;
  }

  /**
   * While the registry answers nothing at all for too long, the last answer stops being current. A wait for a slot, or for the
   * rate limit, says nothing about the registry.
   */
  #watchSilence(): Disposable {
    const { clock, health } = this.#deps;
    let timer: Disposable | undefined;
    const judge = () => {
      if (this.#problem !== undefined) return;
      const silenceMs = Math.min(clock.monotonic() - this.#answeredAt, health.silenceMs);
      if (silenceMs < PROOF_OF_LIFE_MS) {
        timer = clock.setTimer(PROOF_OF_LIFE_MS - silenceMs, judge);
        return;
      }
      const problem = `no answer within ${PROOF_OF_LIFE_MS / 1000} s`;
      this.#lose(new RegistryError('Unreachable', 'server', { problem }));
    };
    judge();
    return { [Symbol.dispose]: () => timer?.[Symbol.dispose]() };
  }

  async #ask(stopped: AbortSignal): Promise<InstancesAnswer<Instance, Cursor>> {
    using _silence = this.#watchSilence();
    using slot = await this.#deps.slots.acquire(stopped);
    const { credentials: currentCredentials, answered, requestTimeoutMs: timeoutMs, slots } = this.#deps;
    const credentials = currentCredentials();
    // After a problem the answer must come at once: it says that the registry is back. So must the first answer to new
    // credentials: Consul lets a query wait although its token may read nothing.
    const mayWait =
      this.#problem === undefined &&
      !this.#isDoubted &&
      this.#cursor !== undefined &&
      this.#accepted === credentials &&
      (this.#wasSeen || slots.unseenRoundMs === 0);
    const request = {
      query: this.#query,
      cursor: this.#cursor,
      waitMs: mayWait ? slot.waitMs : 0,
      timeoutMs,
    };
    const signal = AbortSignal.any([stopped, slot.needed, credentials]);
    const answer = await askOneServer(this.#deps, request, signal);
    this.#accepted = credentials;
    answered();
    return answer;
  }

  #retain(instances: readonly Instance[]): void {
    // A follower that was stopped keeps nothing.
    if (this.#stop.signal.aborted) return;
    try {
      this.#deps.retained.replace(this, instances);
    } catch (error) {
      // Without the cursor, the next answer is complete again.
      this.#cursor = undefined;
      throw error;
    }
  }

  #take({ instances, cursor }: InstancesAnswer<Instance, Cursor>): void {
    this.#cursor = cursor;
    this.#answeredAt = this.#deps.clock.monotonic();
    // A follower that was stopped no longer counts.
    if (!this.#stop.signal.aborted) {
      this.#deps.health.answered(this.#state);
      this.#state = 'current';
    }
    this.#isDoubted = false;
    const isCurrent = this.#problem === undefined && !this.#isBeginning;
    if (instances === undefined && isCurrent) return;
    const isChange = instances !== undefined && this.#isChange(instances);
    this.#problem = undefined;
    this.#isBeginning = false;
    if (instances !== undefined) this.#replace(instances);
    this.#changed(isChange ? 'instances' : 'source');
  }

  /**
   * The first answer changes no endpoints, and an answer that ends an outage may change none. Counted as changes, those of a
   * large registry would come before the changes of everything else.
   */
  #isChange(instances: readonly Instance[]): boolean {
    if (this.#instances === undefined) return false;
    return this.#problem === undefined || !isDeepStrictEqual(instances, this.#instances);
  }

  #replace(instances: readonly Instance[]): void {
    this.#removed.note(instances);
    this.#instances = instances;
    this.#endpoints = this.#deps.protocol.endpoints(instances, undefined);
    if (instances.length > 0) this.#wasSeen = true;
    const { unseen } = this.#deps.slots;
    if (this.#wasSeen || this.#stop.signal.aborted) unseen.delete(this);
    else unseen.add(this);
  }

  #lose(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    this.#state = this.#deps.health.lost(this.#state, error);
    const problem = problemForUsers(error);
    this.#cause = error instanceof RegistryError ? error.message : undefined;
    this.#isAllowed = !(error instanceof ServiceNotAllowed);
    if (this.#problem === problem) return;
    this.#problem = problem;
    this.#isBeginning = false;
    this.#changed('source');
  }

  #changed(what: SourceChange): void {
    this.#views.clear();
    for (const changed of [...this.#listeners.values()]) changed(what);
  }

  #view(options: unknown): Discovered {
    const { name, protocol } = this.#deps;
    const { service } = this.#query;
    if (this.#isBeginning) {
      return {
        state: 'unknown',
        beginning: true,
        message: `ServiceRegistry ${name} has not answered for service ${service} yet`,
      };
    }
    if (!this.#isAllowed && this.#problem !== undefined) {
      const message = `ServiceRegistry ${name} does not allow service ${service}: ${this.#problem}`;
      return { state: 'unknown', beginning: false, reason: 'RegistryServiceNotAllowed', message };
    }
    if (this.#problem !== undefined || this.#instances === undefined) {
      return {
        state: 'unknown',
        beginning: false,
        message: `ServiceRegistry ${name} gave no complete answer for service ${service} (${this.#problem}). The gateway's current nodes are unchanged`,
      };
    }
    const answered = { type: protocol.type, registry: name, service, options };
    if (!this.#wasSeen) return neverListedAnswer(answered);
    return knownAnswer(answered, protocol.endpoints(this.#instances, options));
  }
}
