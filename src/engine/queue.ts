import { KubeApiError } from '../kube/kube-error.ts';
import { keyOf, type ObjectKey, splitKey } from '../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';
import type { UpstreamId } from '../model/upstream.ts';
import type { Clock } from '../runtime/clock.ts';
import { PRIORITY, type Priority } from '../runtime/lane.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Sample } from '../runtime/metrics.ts';
import { type Pace, SLOW_CONCURRENCY } from '../runtime/pace.ts';
import { type Result, WorkQueue } from '../runtime/work-queue.ts';
import { FINALIZERS_AT_ONCE } from './finalizers.ts';
import {
  CONNECTION_QUEUE,
  depthSamples,
  gatewayQueue,
  type Instruments,
  UNKNOWN_GATEWAY_QUEUE,
} from './instruments.ts';
import type { ObjectStates } from './object-state.ts';

/** A unit of work. The queue's keys are these values as JSON. */
export type Work =
  | { readonly kind: 'upstream'; readonly key: ObjectKey }
  | { readonly kind: 'connection'; readonly name: string }
  | { readonly kind: 'finalizer'; readonly key: ObjectKey }
  | { readonly kind: 'orphan'; readonly connection: string; readonly id: UpstreamId }
  | { readonly kind: 'set'; readonly name: string }
  | { readonly kind: 'registry'; readonly name: string }
  | { readonly kind: 'member'; readonly set: string; readonly key: ObjectKey };

export interface EngineQueueOptions {
  readonly states: ObjectStates;
  /** With the index `connection`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly run: (work: Work, signal: AbortSignal) => Promise<Result>;
  readonly mayWrite: () => boolean;
  readonly instruments: Pick<Instruments, 'waited' | 'queueDropped' | 'failed'>;
  readonly backoffMs: (failures: number) => number;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
}

const CONNECTIONS_AT_ONCE = 4;
/** Maximum number of concurrent reconciles of upstreams whose connection does not exist. */
const UNKNOWN_AT_ONCE = 8;
const FINALIZER_QUEUE = 'finalizers';
const SET_QUEUE = 'sets';
const REGISTRY_QUEUE = 'registries';
/** Maximum number of concurrent writes of GatewayUpstreams of one set. */
const MEMBERS_AT_ONCE = 8;
const memberQueue = (set: string): string => `members of ${set}`;

/** The work queue of the engine. Each gateway has its own queue, so that a slow gateway does not delay others. */
export class EngineQueue {
  readonly #options: EngineQueueOptions;
  readonly #queue: WorkQueue;

  constructor(options: EngineQueueOptions) {
    const { clock, backoffMs, instruments, pace } = options;
    this.#options = options;
    this.#queue = new WorkQueue({
      clock,
      backoffMs,
      onBegin: instruments.waited,
      onIdle: instruments.queueDropped,
      pace,
      onError: (key, error) => this.#onError(key, error),
      run: (key, signal) => options.run(JSON.parse(key) as Work, signal),
    });
  }

  /** Creates the queues that do not belong to a gateway or set. Called when the replica becomes the leader. */
  begin(): void {
    this.#queue.setConcurrency(CONNECTION_QUEUE, CONNECTIONS_AT_ONCE);
    this.#queue.setConcurrency(FINALIZER_QUEUE, FINALIZERS_AT_ONCE, { slow: SLOW_CONCURRENCY });
    this.#queue.setConcurrency(SET_QUEUE, 1);
    this.#queue.setConcurrency(REGISTRY_QUEUE, 1);
    this.#queue.setConcurrency(UNKNOWN_GATEWAY_QUEUE, UNKNOWN_AT_ONCE);
  }

  addUpstream(object: GatewayUpstream, wanted: Priority): void {
    const key = keyOf(object);
    // Endpoint changes keep their priority when a gateway recovers.
    const isPending = this.#options.states.get(key)?.endpointChange.isPending === true;
    const priority = isPending ? PRIORITY.endpoints : wanted;
    this.#add({ kind: 'upstream', key }, this.#queueOf(object.connection), priority);
  }

  /** Ignored if the object no longer exists. */
  addKey(key: ObjectKey, priority: Priority): void {
    const { namespace, name } = splitKey(key);
    const object = this.#options.upstreams.get(namespace, name);
    if (object !== undefined) this.addUpstream(object, priority);
  }

  /** Adds every GatewayUpstream of `connection`. */
  addUsersOf(connection: string, priority: Priority): void {
    const { upstreams } = this.#options;
    for (const object of upstreams.byIndex('connection', connection)) this.addUpstream(object, priority);
  }

  addConnection(name: string): void {
    this.#add({ kind: 'connection', name }, CONNECTION_QUEUE, PRIORITY.spec);
  }

  /** Adds the finalizer of a GatewayUpstream; `isUrgent` if an endpoint change waits for it. */
  addFinalizer(key: ObjectKey, isUrgent: boolean): void {
    this.#add({ kind: 'finalizer', key }, FINALIZER_QUEUE, isUrgent ? PRIORITY.endpoints : PRIORITY.spec);
  }

  addOrphan(connection: string, id: UpstreamId): void {
    this.#add({ kind: 'orphan', connection, id }, this.#queueOf(connection), PRIORITY.resync);
  }

  addSet(name: string): void {
    this.#add({ kind: 'set', name }, SET_QUEUE, PRIORITY.spec);
  }

  addRegistry(name: string): void {
    this.#add({ kind: 'registry', name }, REGISTRY_QUEUE, PRIORITY.spec);
  }

  addMember(set: string, key: ObjectKey, priority: Priority): void {
    this.#queue.setConcurrency(memberQueue(set), MEMBERS_AT_ONCE, { slow: SLOW_CONCURRENCY });
    this.#add({ kind: 'member', set, key }, memberQueue(set), priority);
  }

  /** Drops the queue of a set that has no members to reconcile. */
  releaseMembers(set: string): void {
    this.#queue.release(memberQueue(set));
  }

  setGatewayConcurrency(connection: string, concurrency: number): void {
    // One slot is reserved for endpoint changes, so that slow requests for other work do not delay them.
    const reserved = concurrency > 1 ? 1 : 0;
    this.#queue.setConcurrency(gatewayQueue(connection), concurrency, { reserved });
  }

  releaseGateway(connection: string): void {
    this.#queue.release(gatewayQueue(connection));
  }

  /** Number of waiting and running keys, as metric samples. */
  depths(): readonly Sample[] {
    return depthSamples(this.#queue.depths());
  }

  /** Starts no new run and resolves when all runs have ended. */
  async drain(): Promise<void> {
    await this.#queue.drain();
  }

  #add(work: Work, queue: string, priority: Priority): void {
    this.#queue.add(JSON.stringify(work), queue, priority);
  }

  #queueOf(connection: string): string {
    const isKnown = this.#options.connections.get('', connection) !== undefined;
    return isKnown ? gatewayQueue(connection) : UNKNOWN_GATEWAY_QUEUE;
  }

  #onError(key: string, err: unknown): void {
    const { mayWrite, instruments, log } = this.#options;
    // A replica that lost the Lease reports this once and exits.
    if (!mayWrite()) return;
    // Reflectors and readiness report API server errors in full.
    if (err instanceof KubeApiError) {
      log.warn({ key, status: err.status }, `a write to the API server failed; retrying: ${err.message}`);
    } else {
      instruments.failed('', 'InternalError');
      log.error({ err, key }, 'reconcile failed; retrying');
    }
  }
}
