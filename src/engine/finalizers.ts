import { CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../api/group.ts';
import { shorten } from '../decide/status.ts';
import { KubeApiError } from '../kube/kube-error.ts';
import type { ObjectWriter } from '../kube/object-writer.ts';
import { keyOf, type ObjectKey, splitKey } from '../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Result } from '../runtime/work-queue.ts';
import type { Instruments } from './instruments.ts';
import type { ObjectStates } from './object-state.ts';

export interface FinalizersDeps {
  readonly states: ObjectStates;
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly writer: Pick<ObjectWriter, 'addFinalizer'>;
  readonly instruments: Pick<Instruments, 'failed'>;
  readonly log: Logger;
  /** Runs `add` for the key, and again after a failure. */
  readonly enqueue: (key: ObjectKey, isUrgent: boolean) => void;
  /** What is reported of an upstream, or of a connection and its upstreams, changes. */
  readonly onRefusal: (object: GatewayUpstream | GatewayConnection) => void;
}

const MAX_WORDS = 512;
const done: Result = { kind: 'done' };

/**
 * Adds the finalizers of this operator. An object gets its finalizer before anything is written to a gateway for it, so
 * that no upstream outlives its object unseen (docs/decisions/0029-finalizers-come-first.md). The watch event of the
 * added finalizer brings the object back to its reconciler.
 */
export class Finalizers {
  readonly #deps: FinalizersDeps;
  /** Why the API server refuses the finalizer of a GatewayConnection, by its name. */
  readonly #ofConnections = new Map<string, { readonly uid: string; readonly verdict: Verdict }>();

  constructor(deps: FinalizersDeps) {
    this.#deps = deps;
  }

  /** Adds the finalizer of a GatewayUpstream soon; before others where a change of endpoints waits for it. */
  request(object: GatewayUpstream, isUrgent: boolean): void {
    this.#deps.enqueue(keyOf(object), isUrgent);
  }

  /** Why the API server refuses the finalizer of `object`; undefined while it does not. */
  refusalOf(object: GatewayUpstream | GatewayConnection): Verdict | undefined {
    if ('connection' in object) return this.#deps.states.of(object)?.finalizerRefusal;
    const refusal = this.#ofConnections.get(object.name);
    return refusal?.uid === object.uid ? refusal.verdict : undefined;
  }

  /** The connection is gone. */
  forget(connection: string): void {
    this.#ofConnections.delete(connection);
  }

  /** Rejects with `KubeApiError` where the API server does not answer. */
  async add(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { namespace, name } = splitKey(key);
    const object = this.#deps.upstreams.get(namespace, name);
    if (object === undefined || object.deletionTimestamp !== undefined) return done;
    return await this.#add('GatewayUpstream', object, UPSTREAM_FINALIZER, signal);
  }

  /** Rejects with `KubeApiError` where the API server does not answer. */
  async addTo(connection: GatewayConnection, signal: AbortSignal): Promise<Result> {
    return await this.#add('GatewayConnection', connection, CONNECTION_FINALIZER, signal);
  }

  async #add(
    kind: 'GatewayUpstream' | 'GatewayConnection',
    object: GatewayUpstream | GatewayConnection,
    finalizer: string,
    signal: AbortSignal,
  ): Promise<Result> {
    if (object.finalizers.includes(finalizer)) return done;
    try {
      const isAdded = await this.#deps.writer.addFinalizer(kind, object, finalizer, signal);
      this.#note(object, undefined);
      // Gone, or about to go, as its watch event says; unless the API server is mistaken, as right after its start.
      return isAdded ? done : { kind: 'backoff' };
    } catch (error) {
      if (!(error instanceof KubeApiError) || !isRefusal(error)) throw error;
      this.#refused(object, finalizer, error);
      return { kind: 'backoff' };
    }
  }

  #refused(object: GatewayUpstream | GatewayConnection, finalizer: string, error: KubeApiError): void {
    const message = `The API server refuses to add the finalizer ${finalizer}, without which nothing new is written to the gateway: ${shorten(error.message, MAX_WORDS)}. Allow the operator's ServiceAccount to patch metadata.finalizers in the policy or webhook that the message names`;
    this.#deps.instruments.failed('', 'FinalizerRefused');
    if (this.refusalOf(object)?.message === message) return;
    const verdict: Verdict = { status: 'False', reason: 'FinalizerRefused', message };
    this.#note(object, verdict);
    const { namespace, name } = object;
    this.#deps.log.warn({ namespace, name, status: error.status, reason: 'FinalizerRefused' }, message);
    this.#deps.onRefusal(object);
  }

  #note(object: GatewayUpstream | GatewayConnection, verdict: Verdict | undefined): void {
    if ('connection' in object) {
      const state = this.#deps.states.of(object);
      if (state !== undefined) state.finalizerRefusal = verdict;
    } else if (verdict === undefined) this.forget(object.name);
    else this.#ofConnections.set(object.name, { uid: object.uid, verdict });
  }
}

/** Whether the API server, or an admission policy or webhook of its own, decided against the request. */
function isRefusal({ status }: KubeApiError): boolean {
  return status === 400 || status === 403 || status === 422;
}
