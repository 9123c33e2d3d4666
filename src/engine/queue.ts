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

/** What a key in the queue stands for. */
export type Work =
  | { readonly kind: 'upstream'; readonly key: ObjectKey }
  | { readonly kind: 'connection'; readonly name: string }
  | { readonly kind: 'finalizer'; readonly key: ObjectKey }
  | { readonly kind: 'orphan'; readonly connection: string; readonly id: UpstreamId }
  | { readonly kind: 'set'; readonly name: string }
  | { readonly kind: 'member'; readonly set: string; readonly key: ObjectKey };

export interface EngineQueueOptions {
  readonly states: ObjectStates;
  /** With the index `connection`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly run: (work: Work, signal: AbortSignal) => Promise<Result>;
  readonly mayWrite: () => boolean;
  readonly instruments: Pick<Instruments, 'waited' | 'idle' | 'failed'>;
  readonly backoffMs: (failures: number) => number;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
}

const CONNECTIONS_AT_ONCE = 4;
/** How many upstreams are reconciled at once whose connection does not exist. */
const UNKNOWN_AT_ONCE = 8;
const FINALIZER_QUEUE = 'finalizers';
const SET_QUEUE = 'sets';
/** How many GatewayUpstreams of a set are written at once. */
const MEMBERS_AT_ONCE = 8;
const memberQueue = (set: string): string => `members of ${set}`;

/** Everything that waits to be reconciled. Each gateway has a queue of its own, so that a slow one delays no other. */
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
      onIdle: instruments.idle,
      pace,
      onError: (key, error) => this.#onError(key, error),
      run: (key, signal) => options.run(JSON.parse(key) as Work, signal),
    });
  }

  /** A replica has these queues from the moment it leads. */
  begin(): void {
    this.#queue.setConcurrency(CONNECTION_QUEUE, CONNECTIONS_AT_ONCE);
    this.#queue.setConcurrency(FINALIZER_QUEUE, FINALIZERS_AT_ONCE, { slow: SLOW_CONCURRENCY });
    this.#queue.setConcurrency(SET_QUEUE, 1);
    this.#queue.setConcurrency(UNKNOWN_GATEWAY_QUEUE, UNKNOWN_AT_ONCE);
  }

  addUpstream(object: GatewayUpstream, wanted: Priority): void {
    const key = keyOf(object);
    // When a gateway comes back, its endpoint changes still come first.
    const isPending = this.#options.states.get(key)?.endpointChange.isPending === true;
    const priority = isPending ? PRIORITY.endpoints : wanted;
    this.#add({ kind: 'upstream', key }, this.#queueOf(object.connection), priority);
  }

  /** Nothing where the object is gone. */
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

  /** Adds the finalizer of a GatewayUpstream, before others where a change of endpoints waits for it. */
  addFinalizer(key: ObjectKey, isUrgent: boolean): void {
    this.#add({ kind: 'finalizer', key }, FINALIZER_QUEUE, isUrgent ? PRIORITY.endpoints : PRIORITY.spec);
  }

  addOrphan(connection: string, id: UpstreamId): void {
    this.#add({ kind: 'orphan', connection, id }, this.#queueOf(connection), PRIORITY.resync);
  }

  addSet(name: string): void {
    this.#add({ kind: 'set', name }, SET_QUEUE, PRIORITY.spec);
  }

  addMember(set: string, key: ObjectKey, priority: Priority): void {
    this.#queue.setConcurrency(memberQueue(set), MEMBERS_AT_ONCE, { slow: SLOW_CONCURRENCY });
    this.#add({ kind: 'member', set, key }, memberQueue(set), priority);
  }

  /** The set has no members to reconcile any more. */
  releaseMembers(set: string): void {
    this.#queue.release(memberQueue(set));
  }

  setGatewayConcurrency(connection: string, concurrency: number): void {
    // One run is always free for an endpoint change, however long the gateway takes for everything else.
    const reserved = concurrency > 1 ? 1 : 0;
    this.#queue.setConcurrency(gatewayQueue(connection), concurrency, { reserved });
  }

  releaseGateway(connection: string): void {
    this.#queue.release(gatewayQueue(connection));
  }

  /** Keys that wait or run, as samples of a metric. */
  depths(): readonly Sample[] {
    return depthSamples(this.#queue.depths());
  }

  /** Begins nothing new, and resolves when no run is left. */
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
    // A replica that lost the lease reports that once, and ends.
    if (!mayWrite()) return;
    // The reflectors and readiness report once and in full what the API server answers.
    if (err instanceof KubeApiError) {
      log.warn({ key, status: err.status }, `a write to the API server failed; retrying: ${err.message}`);
    } else {
      instruments.failed('', 'InternalError');
      log.error({ err, key }, 'reconcile failed; retrying');
    }
  }
}
