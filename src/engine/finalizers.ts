import { CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../api/group.ts';
import { shorten } from '../decide/status.ts';
import { KubeApiError } from '../kube/kube-error.ts';
import type { ObjectWriter } from '../kube/object-writer.ts';
import { keyOf, type ObjectKey, splitKey } from '../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { type Pace, SLOW_CONCURRENCY } from '../runtime/pace.ts';
import type { Result } from '../runtime/work-queue.ts';
import type { Instruments } from './instruments.ts';
import type { FinalizerFailure, ObjectStates } from './object-state.ts';

export interface FinalizersDeps {
  readonly states: ObjectStates;
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly writer: Pick<ObjectWriter, 'addFinalizer'>;
  readonly instruments: Pick<Instruments, 'failed'>;
  readonly clock: Clock;
  readonly pace: Pick<Pace, 'isSlow'>;
  /** Milliseconds before the nth retry in a row, n from 1. */
  readonly backoffMs: (failures: number) => number;
  readonly log: Logger;
  /** Runs `add` for the key, and again after a failure. */
  readonly enqueue: (key: ObjectKey, isUrgent: boolean) => void;
  /** What is reported of an upstream, or of a connection and its upstreams, changes. */
  readonly onRefusal: (object: GatewayUpstream | GatewayConnection) => void;
}

/** How many GatewayUpstreams get their finalizer at once. */
export const FINALIZERS_AT_ONCE = 8;
/** An object whose namespace has its share of the places is tried again so soon. */
const FULL_RETRY_MS = 200;
const MAX_WORDS = 512;
/** A failure that is no refusal may end by itself, and is reported after so many in a row. */
const REPORTED_FAILURES = 3;
const done: Result = { kind: 'done' };

/**
 * Adds the finalizers of this operator. An object gets its finalizer before anything is written to a gateway for it, so
 * that no upstream outlives its object unseen (docs/decisions/0029-finalizers-come-first.md). The watch event of the
 * added finalizer brings the object back to its reconciler.
 */
export class Finalizers {
  readonly #deps: FinalizersDeps;
  /** Of GatewayConnections, by name. */
  readonly #ofConnections = new Map<string, FinalizerFailure & { readonly uid: string }>();

  /** How many requests are under way, by namespace. */
  readonly #running = new Map<string, number>();

  constructor(deps: FinalizersDeps) {
    this.#deps = deps;
  }

  /** Adds the finalizer of a GatewayUpstream soon; before others where a change of endpoints waits for it. */
  request(object: GatewayUpstream, isUrgent: boolean): void {
    this.#deps.enqueue(keyOf(object), isUrgent);
  }

  /** Why the finalizer of `object` cannot be added; undefined where it is on, or nothing is wrong. */
  refusalOf(object: GatewayUpstream | GatewayConnection): Verdict | undefined {
    return object.finalizers.includes(finalizerOf(object)) ? undefined : this.#failureOf(object)?.verdict;
  }

  /** The connection is gone. */
  forget(connection: string): void {
    this.#ofConnections.delete(connection);
  }

  async add(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { namespace, name } = splitKey(key);
    const object = this.#deps.upstreams.get(namespace, name);
    if (object === undefined || object.deletionTimestamp !== undefined) return done;
    const running = this.#running.get(namespace) ?? 0;
    if (running >= this.#placesOfNamespace()) return { kind: 'after', delayMs: FULL_RETRY_MS };
    this.#running.set(namespace, running + 1);
    try {
      return await this.#add('GatewayUpstream', object, signal);
    } finally {
      const left = (this.#running.get(namespace) ?? 1) - 1;
      if (left > 0) this.#running.set(namespace, left);
      else this.#running.delete(namespace);
    }
  }

  /** Half of the places: a slow webhook of one namespace delays no other. */
  #placesOfNamespace(): number {
    return (this.#deps.pace.isSlow ? SLOW_CONCURRENCY : FINALIZERS_AT_ONCE) / 2;
  }

  async addTo(connection: GatewayConnection, signal: AbortSignal): Promise<Result> {
    return await this.#add('GatewayConnection', connection, signal);
  }

  async #add(
    kind: 'GatewayUpstream' | 'GatewayConnection',
    object: GatewayUpstream | GatewayConnection,
    signal: AbortSignal,
  ): Promise<Result> {
    const finalizer = finalizerOf(object);
    if (object.finalizers.includes(finalizer)) return done;
    // Reconciles that need the finalizer ask for it again and again: none of them ends the back-off.
    const waitMs = (this.#failureOf(object)?.notBefore ?? 0) - this.#deps.clock.monotonic();
    if (waitMs > 0) return { kind: 'after', delayMs: waitMs };
    try {
      const isAdded = await this.#deps.writer.addFinalizer(kind, object, finalizer, signal);
      this.#note(object, undefined);
      // Gone, or about to go, as its watch event says; unless the API server is mistaken, as right after its start.
      return isAdded ? done : { kind: 'backoff' };
    } catch (error) {
      if (!(error instanceof KubeApiError) || signal.aborted) throw error;
      return { kind: 'after', delayMs: this.#failed(object, finalizer, error) };
    }
  }

  /** Returns how long to wait. */
  #failed(object: GatewayUpstream | GatewayConnection, finalizer: string, error: KubeApiError): number {
    const { clock, backoffMs, instruments, log } = this.#deps;
    const before = this.#failureOf(object);
    const { status } = error;
    const failures = (before?.failures ?? 0) + 1;
    const isReported = isRefusal(error) || failures >= REPORTED_FAILURES;
    // The words of a refusal may differ from answer to answer: the first ones stay while the status is the same.
    const isNews = isReported && (before?.verdict === undefined || before.status !== status);
    const verdict = isNews ? verdictOf(finalizer, error) : before?.verdict;
    const delayMs = backoffMs(failures);
    this.#note(object, { failures, status, notBefore: clock.monotonic() + delayMs, verdict });
    instruments.failed('', 'FinalizerRefused');
    const { namespace, name } = object;
    if (!isReported)
      log.warn({ namespace, name, status }, `adding a finalizer failed; retrying: ${error.message}`);
    if (isNews && verdict !== undefined) {
      log.warn({ namespace, name, status, reason: verdict.reason }, verdict.message);
      this.#deps.onRefusal(object);
    }
    return delayMs;
  }

  #failureOf(object: GatewayUpstream | GatewayConnection): FinalizerFailure | undefined {
    if ('connection' in object) return this.#deps.states.of(object)?.finalizerFailure;
    const failure = this.#ofConnections.get(object.name);
    return failure?.uid === object.uid ? failure : undefined;
  }

  #note(object: GatewayUpstream | GatewayConnection, failure: FinalizerFailure | undefined): void {
    if ('connection' in object) {
      const state = this.#deps.states.of(object);
      if (state !== undefined) state.finalizerFailure = failure;
    } else if (failure === undefined) this.forget(object.name);
    else this.#ofConnections.set(object.name, { ...failure, uid: object.uid });
  }
}

function finalizerOf(object: GatewayUpstream | GatewayConnection): string {
  return 'connection' in object ? UPSTREAM_FINALIZER : CONNECTION_FINALIZER;
}

function verdictOf(finalizer: string, error: KubeApiError): Verdict {
  const words = shorten(error.message, MAX_WORDS);
  const message = isRefusal(error)
    ? `The API server denied the finalizer ${finalizer}, which the operator adds before it creates or takes over an upstream: ${words}. Allow the operator's ServiceAccount to patch metadata.finalizers in the policy or webhook that the message names`
    : `The finalizer ${finalizer}, which the operator adds before it creates or takes over an upstream, could not be added: ${words}. Correct the webhook or API server component that the message names. The operator retries automatically`;
  return { status: 'False', reason: 'FinalizerRefused', message };
}

/** Whether the API server, or an admission policy or webhook of its own, decided against the request. */
function isRefusal({ status }: KubeApiError): boolean {
  return status === 400 || status === 403 || status === 422;
}
