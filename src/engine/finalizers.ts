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
  /** Back-off in milliseconds after n consecutive failures; n starts at 1. */
  readonly backoffMs: (failures: number) => number;
  readonly log: Logger;
  /** Schedules `add` for the key and retries it after a failure. */
  readonly enqueue: (key: ObjectKey, isUrgent: boolean) => void;
  /** The status of an upstream, or of a connection and its upstreams, must be reported again. */
  readonly onFailureReported: (object: GatewayUpstream | GatewayConnection) => void;
}

/** Maximum number of concurrent requests that add a finalizer to a GatewayUpstream. */
export const FINALIZERS_AT_ONCE = 8;
/** Delay before a retry when the namespace already has its share of the concurrent requests. */
const FULL_RETRY_MS = 200;
/** Characters of the API server's message that are quoted. */
const MAX_QUOTED = 512;
/** A failure that is not a denial may be transient. It is reported after this many consecutive failures. */
const REPORTED_FAILURES = 3;
const done: Result = { kind: 'done' };

/**
 * Adds the finalizers of the operator. An object gets its finalizer before its first write to a gateway, so that its deletion
 * always waits for the operator (docs/decisions/0029-finalizers-come-first.md). The watch event of the added finalizer
 * triggers the next reconcile of the object.
 */
export class Finalizers {
  readonly #deps: FinalizersDeps;
  /** By name of the GatewayConnection. */
  readonly #connectionFailures = new Map<string, FinalizerFailure & { readonly uid: string }>();

  /** Number of running requests by namespace. */
  readonly #running = new Map<string, number>();

  constructor(deps: FinalizersDeps) {
    this.#deps = deps;
  }

  /** Schedules the finalizer of a GatewayUpstream; `isUrgent` if an endpoint change waits for it. */
  request(object: GatewayUpstream, isUrgent: boolean): void {
    this.#deps.enqueue(keyOf(object), isUrgent);
  }

  /** Why the finalizer of `object` cannot be added; undefined if it is present or no failure is reported. */
  failureVerdict(object: GatewayUpstream | GatewayConnection): Verdict | undefined {
    return object.finalizers.includes(finalizerOf(object)) ? undefined : this.#failureOf(object)?.verdict;
  }

  /** Drops the state of a connection that no longer exists. */
  forget(connection: string): void {
    this.#connectionFailures.delete(connection);
  }

  async add(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { namespace, name } = splitKey(key);
    const object = this.#deps.upstreams.get(namespace, name);
    if (object === undefined || object.deletionTimestamp !== undefined) return done;
    const running = this.#running.get(namespace) ?? 0;
    if (running >= this.#maxPerNamespace()) return { kind: 'after', delayMs: FULL_RETRY_MS };
    this.#running.set(namespace, running + 1);
    try {
      return await this.#add('GatewayUpstream', object, signal);
    } finally {
      const left = (this.#running.get(namespace) ?? 1) - 1;
      if (left > 0) this.#running.set(namespace, left);
      else this.#running.delete(namespace);
    }
  }

  /** A namespace gets half of the concurrent requests, so that its slow webhook does not delay other namespaces. */
  #maxPerNamespace(): number {
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
    // Every reconcile that needs the finalizer requests it again. These requests must not end the back-off.
    const waitMs = (this.#failureOf(object)?.notBefore ?? 0) - this.#deps.clock.monotonic();
    if (waitMs > 0) return { kind: 'after', delayMs: waitMs };
    try {
      const isAdded = await this.#deps.writer.addFinalizer(kind, object, finalizer, signal);
      this.#note(object, undefined);
      // Not added: the object was deleted, which a watch event reports. An API server may also answer so wrongly right after it starts.
      return isAdded ? done : { kind: 'backoff' };
    } catch (error) {
      if (!(error instanceof KubeApiError) || signal.aborted) throw error;
      return { kind: 'after', delayMs: this.#failed(object, finalizer, error) };
    }
  }

  /** Records a failure. Returns the back-off in milliseconds. */
  #failed(object: GatewayUpstream | GatewayConnection, finalizer: string, error: KubeApiError): number {
    const { clock, backoffMs, instruments, log } = this.#deps;
    const before = this.#failureOf(object);
    const { status } = error;
    const failures = (before?.failures ?? 0) + 1;
    const isReported = isDenial(error) || failures >= REPORTED_FAILURES;
    // Messages may vary between responses. The first one is kept while the status code is the same.
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
      this.#deps.onFailureReported(object);
    }
    return delayMs;
  }

  #failureOf(object: GatewayUpstream | GatewayConnection): FinalizerFailure | undefined {
    if ('connection' in object) return this.#deps.states.of(object)?.finalizerFailure;
    const failure = this.#connectionFailures.get(object.name);
    return failure?.uid === object.uid ? failure : undefined;
  }

  #note(object: GatewayUpstream | GatewayConnection, failure: FinalizerFailure | undefined): void {
    if ('connection' in object) {
      const state = this.#deps.states.of(object);
      if (state !== undefined) state.finalizerFailure = failure;
    } else if (failure === undefined) this.forget(object.name);
    else this.#connectionFailures.set(object.name, { ...failure, uid: object.uid });
  }
}

function finalizerOf(object: GatewayUpstream | GatewayConnection): string {
  return 'connection' in object ? UPSTREAM_FINALIZER : CONNECTION_FINALIZER;
}

function verdictOf(finalizer: string, error: KubeApiError): Verdict {
  const words = shorten(error.message, MAX_QUOTED);
  const message = isDenial(error)
    ? `The API server denied the finalizer ${finalizer}, which the operator adds before it creates or takes over an upstream: ${words}. Allow the operator's ServiceAccount to patch metadata.finalizers in the policy or webhook that the message names`
    : `The finalizer ${finalizer}, which the operator adds before it creates or takes over an upstream, could not be added: ${words}. Correct the webhook or API server component that the message names. The operator retries automatically`;
  return { status: 'False', reason: 'FinalizerRefused', message };
}

/** Whether the API server, an admission policy or a webhook denied the request. */
function isDenial({ status }: KubeApiError): boolean {
  return status === 400 || status === 403 || status === 422;
}
