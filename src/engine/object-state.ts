import type { LastAnswer } from '../decide/last-answers.ts';
import type { Remembered } from '../decide/remembered.ts';
import { type ObjectKey, objectKey } from '../model/keys.ts';
import type { Stored } from '../model/store-view.ts';
import type { UpstreamId } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Clock } from '../runtime/clock.ts';
import { EndpointChange } from './endpoint-change.ts';
import { RemovalGuardState } from './removal-guard-state.ts';
import type { Report } from './status/report.ts';
import type { PendingDeletion } from './upstream/pending-deletion.ts';

const NO_SUBSCRIPTIONS: readonly Disposable[] = [];

/** The finalizer of an object could not be added. */
export interface FinalizerFailure {
  /** In a row. */
  readonly failures: number;
  /** HTTP status of the last one; undefined without an answer. */
  readonly status: number | undefined;
  /** It is not tried again before, on the monotonic clock. */
  readonly notBefore: number;
  /** What is reported; undefined while it may end by itself. */
  readonly verdict: Verdict | undefined;
}

/** Everything that the engine keeps of one GatewayUpstream beside the object itself. */
export class ObjectState {
  readonly key: ObjectKey;
  readonly uid: string;
  /** Since when the object is known, on the monotonic clock. */
  readonly knownSince: number;
  readonly removalGuard: RemovalGuardState;
  readonly endpointChange = new EndpointChange();
  /** By backend that its source has answered for. */
  lastAnswers: readonly LastAnswer[] = [];
  /** To the endpoints of the backends. */
  subscriptions: readonly Disposable[] = NO_SUBSCRIPTIONS;
  /** A backend is addressed by nodes of the cluster. */
  usesNodes = false;
  /** Present while something refers to the upstream, which therefore cannot be deleted. */
  pendingDeletion: PendingDeletion | undefined = undefined;
  /** Undefined while the finalizer is on, or was not asked for. */
  finalizerFailure: FinalizerFailure | undefined = undefined;
  /** The upstream that data planes are asked for; undefined: none. */
  verified: { readonly connection: string; readonly id: UpstreamId } | undefined = undefined;
  /** Undefined before the first report. */
  report: Report | undefined = undefined;

  constructor(key: ObjectKey, uid: string, clock: Clock) {
    this.key = key;
    this.uid = uid;
    this.knownSince = clock.monotonic();
    this.removalGuard = new RemovalGuardState(clock);
  }

  /** Replaces the subscriptions. */
  subscribe(subscriptions: readonly Disposable[]): void {
    for (const subscription of this.subscriptions) subscription[Symbol.dispose]();
    this.subscriptions = subscriptions;
  }

  [Symbol.dispose](): void {
    this.subscribe(NO_SUBSCRIPTIONS);
  }
}

/** The state of every GatewayUpstream that is known: the one place that creates and drops it. */
export class ObjectStates {
  readonly #clock: Clock;
  readonly #states = new Map<ObjectKey, ObjectState>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The state of `object`, which is created where there is none. Another uid is another object. */
  track(object: Pick<Stored, 'namespace' | 'name' | 'uid'>): ObjectState {
    const known = this.of(object);
    if (known !== undefined) return known;
    const key = objectKey(object.namespace, object.name);
    this.drop(key);
    const state = new ObjectState(key, object.uid, this.#clock);
    this.#states.set(key, state);
    return state;
  }

  /** The state of `object`; undefined where the object is gone, or another one has its name. */
  of(object: Pick<Stored, 'namespace' | 'name' | 'uid'>): ObjectState | undefined {
    const state = this.#states.get(objectKey(object.namespace, object.name));
    return state?.uid === object.uid ? state : undefined;
  }

  get(key: ObjectKey): ObjectState | undefined {
    return this.#states.get(key);
  }

  /** The object is gone. */
  drop(key: ObjectKey): void {
    this.#states.get(key)?.[Symbol.dispose]();
    this.#states.delete(key);
  }

  [Symbol.iterator](): IterableIterator<ObjectState> {
    return this.#states.values();
  }

  /** The last complete answers about the backends of an object. */
  lastAnswers(key: ObjectKey): readonly LastAnswer[] {
    return this.#states.get(key)?.lastAnswers ?? [];
  }

  /** What the removal guard remembers of an object. */
  recall(key: ObjectKey): Remembered | undefined {
    return this.#states.get(key)?.removalGuard.recall();
  }

  /** Ends every subscription. */
  [Symbol.dispose](): void {
    for (const key of this.#states.keys()) this.drop(key);
  }
}
