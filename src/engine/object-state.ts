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

/** State of failed attempts to add a finalizer. */
export interface FinalizerFailure {
  /** Consecutive failures. */
  readonly failures: number;
  /** HTTP status of the last failure; undefined if there was no response. */
  readonly status: number | undefined;
  /** Earliest time of the next attempt (monotonic). */
  readonly notBefore: number;
  /** The reported verdict; undefined while the failure may be transient. */
  readonly verdict: Verdict | undefined;
}

/** The engine's state of one GatewayUpstream. */
export class ObjectState {
  readonly key: ObjectKey;
  readonly uid: string;
  /** When the operator first saw the object (monotonic). */
  readonly firstSeenAt: number;
  readonly removalGuard: RemovalGuardState;
  readonly endpointChange = new EndpointChange();
  /** One entry for each backend whose source has answered. */
  lastAnswers: readonly LastAnswer[] = [];
  /** Since when the object waits for a source that has just started (monotonic). */
  beganAt: number | undefined = undefined;
  /** Subscriptions to the endpoints of the backends. */
  subscriptions: readonly Disposable[] = NO_SUBSCRIPTIONS;
  /** Whether a backend uses node addresses (`addressing.mode: Node`). */
  usesNodes = false;
  /** Set while the upstream cannot be deleted because something in the gateway refers to it. */
  pendingDeletion: PendingDeletion | undefined = undefined;
  /** Undefined while the finalizer is present or was not requested. */
  finalizerFailure: FinalizerFailure | undefined = undefined;
  /** The upstream that data-plane verification checks for this object. */
  verified: { readonly connection: string; readonly id: UpstreamId } | undefined = undefined;
  /** Undefined before the first report. */
  report: Report | undefined = undefined;

  constructor(key: ObjectKey, uid: string, clock: Clock) {
    this.key = key;
    this.uid = uid;
    this.firstSeenAt = clock.monotonic();
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

/** Creates, finds and drops the state of every GatewayUpstream. */
export class ObjectStates {
  readonly #clock: Clock;
  readonly #states = new Map<ObjectKey, ObjectState>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Returns the state of `object` and creates it if needed. An object with another uid is another object. */
  track(object: Pick<Stored, 'namespace' | 'name' | 'uid'>): ObjectState {
    const known = this.of(object);
    if (known !== undefined) return known;
    const key = objectKey(object.namespace, object.name);
    this.drop(key);
    const state = new ObjectState(key, object.uid, this.#clock);
    this.#states.set(key, state);
    return state;
  }

  /** The state of `object`; undefined if the object was deleted or replaced by another object of the same name. */
  of(object: Pick<Stored, 'namespace' | 'name' | 'uid'>): ObjectState | undefined {
    const state = this.#states.get(objectKey(object.namespace, object.name));
    return state?.uid === object.uid ? state : undefined;
  }

  get(key: ObjectKey): ObjectState | undefined {
    return this.#states.get(key);
  }

  /** Drops the state of a deleted object and ends its subscriptions. */
  drop(key: ObjectKey): void {
    this.#states.get(key)?.[Symbol.dispose]();
    this.#states.delete(key);
  }

  [Symbol.iterator](): IterableIterator<ObjectState> {
    return this.#states.values();
  }

  /** The last complete answer for each backend of an object. */
  lastAnswers(key: ObjectKey): readonly LastAnswer[] {
    return this.#states.get(key)?.lastAnswers ?? [];
  }

  /** The removal-guard state of an object. */
  recall(key: ObjectKey): Remembered | undefined {
    return this.#states.get(key)?.removalGuard.recall();
  }

  /** Ends every subscription. */
  [Symbol.dispose](): void {
    for (const key of this.#states.keys()) this.drop(key);
  }
}
