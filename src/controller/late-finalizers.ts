import { UPSTREAM_FINALIZER } from '../api/group.ts';
import { durationMs } from '../api/schema.ts';
import { type ObjectKey, splitKey, type UpstreamId } from '../core/model.ts';
import type { ObjectWriter } from '../kube/object-writer.ts';
import type { GatewayUpstream } from '../kube/objects.ts';
import type { StoreView } from '../kube/store.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Followup } from '../runtime/work-queue.ts';
import { keyOf } from './claims.ts';
import type { Ending } from './evaluate.ts';
import type { UpstreamOutcome } from './reconcile-upstream.ts';
import type { Reporter } from './reporter.ts';

export interface LateFinalizersDeps {
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly writer: Pick<ObjectWriter, 'addFinalizer'>;
  readonly reporter: Pick<Reporter, 'upstream'>;
  readonly clock: Clock;
  /** Runs `settle` for the key, and again after a failure. */
  readonly enqueue: (key: ObjectKey) => void;
  /** What an object wanted done with its upstream. */
  readonly endingOf: (object: GatewayUpstream) => Ending;
  /** Deletes an upstream that belongs to no object any more. Resolves to false where that has to be tried again. */
  readonly remove: (
    connection: string,
    id: UpstreamId,
    references: 'respect' | 'ignore',
    signal: AbortSignal,
  ) => Promise<boolean>;
  /** No sweep touches the upstream `id` any more. */
  readonly leaveAlone: (connection: string, id: UpstreamId) => void;
  /** Upstream `id`, whose object is gone, is seen to: whoever waited for that may go on. */
  readonly done: (connection: string, id: UpstreamId) => void;
}

interface Owed {
  /** As it was seen last. */
  object: GatewayUpstream;
  readonly id: UpstreamId;
  /** What is to be said, and of which version of the object. */
  held: { readonly object: GatewayUpstream; readonly outcome: UpstreamOutcome } | undefined;
  /** Since when the object is known to be gone, on the monotonic clock. */
  goneAt: number | undefined;
}

/**
 * The finalizers of objects whose upstream is new in the gateway. They are put on beside the write instead of before it,
 * since the API server takes longer for each than a gateway for its upstream (docs/decisions/0028-finalizers-beside-writes.md).
 * Until one is on nothing is said of the object, so that whoever sees it Ready can rely on its deletion. Where an object
 * goes before, what its finalizer would have seen to is done all the same, and its connection is kept until then.
 */
export class LateFinalizers {
  readonly #deps: LateFinalizersDeps;
  readonly #owed = new Map<ObjectKey, Owed>();

  constructor(deps: LateFinalizersDeps) {
    this.#deps = deps;
  }

  /** Upstream `id` is about to be created for `object`. */
  owe(object: GatewayUpstream, id: UpstreamId): void {
    const key = keyOf(object);
    this.#owed.set(key, { object, id, held: undefined, goneAt: undefined });
    this.#deps.enqueue(key);
  }

  /** Whether the finalizer of `object` is still to come. */
  isOwed(object: GatewayUpstream): boolean {
    return this.#owed.get(keyOf(object))?.object.uid === object.uid;
  }

  /** Whether an upstream of `connection` is to be seen to for an object that may be gone. */
  holds(connection: string): boolean {
    for (const { object } of this.#owed.values()) if (object.connection === connection) return true;
    return false;
  }

  /** The object of this name is about to be looked at anew: what was to be said of it is out of date. */
  look(key: ObjectKey): void {
    const owed = this.#owed.get(key);
    if (owed === undefined) return;
    owed.held = undefined;
    this.#seeIfGone(key, owed);
    if (owed.goneAt !== undefined) this.#deps.enqueue(key);
  }

  /** Has `outcome` reported once the finalizer of `object` is on; at once where it says why it cannot be put on. */
  report(object: GatewayUpstream, outcome: UpstreamOutcome): void {
    const owed = this.#owed.get(keyOf(object));
    const isHeld =
      owed?.object.uid === object.uid &&
      !object.finalizers.includes(UPSTREAM_FINALIZER) &&
      outcome.ready.reason !== 'PermissionMissing';
    if (isHeld) owed.held = { object, outcome };
    else this.#deps.reporter.upstream(object, outcome);
  }

  /** Rejects with `KubeApiError`, and is to be run again then. */
  async settle(key: ObjectKey, signal: AbortSignal): Promise<Followup> {
    const owed = this.#owed.get(key);
    if (owed === undefined) return { kind: 'done' };
    this.#seeIfGone(key, owed);
    if (owed.goneAt !== undefined) return await this.#remove(key, owed, owed.goneAt, signal);
    const { object } = owed;
    const { finalizers, deletionTimestamp } = object;
    // One that ends takes no finalizer any more; that it has gone is told by its event.
    if (deletionTimestamp !== undefined && !finalizers.includes(UPSTREAM_FINALIZER)) return { kind: 'done' };
    const isOn =
      finalizers.includes(UPSTREAM_FINALIZER) ||
      (await this.#deps.writer.addFinalizer('GatewayUpstream', object, UPSTREAM_FINALIZER, signal));
    if (this.#owed.get(key) !== owed) return { kind: 'done' };
    // Gone, or ending, of which its event tells; unless the API server is mistaken.
    if (!isOn) return { kind: 'backoff' };
    this.#owed.delete(key);
    if (owed.held !== undefined) this.#deps.reporter.upstream(owed.held.object, owed.held.outcome);
    return { kind: 'done' };
  }

  /** Does what `release` would have done. */
  async #remove(key: ObjectKey, owed: Owed, goneAt: number, signal: AbortSignal): Promise<Followup> {
    const { object, id } = owed;
    const { connection, spec } = object;
    const ending = this.#deps.endingOf(object);
    if (ending.kind === 'ends' && ending.policy !== 'Orphan') {
      const references = ending.policy === 'Force' ? 'ignore' : 'respect';
      const isDone = await this.#deps.remove(connection, id, references, signal);
      const patienceMs = durationMs(spec.ok ? spec.value.deletionTimeout : '10m');
      // Nobody is left who could say that it may stay: after that time it is left to the sweeps.
      if (!isDone && this.#deps.clock.monotonic() - goneAt < patienceMs) return { kind: 'backoff' };
    } else this.#deps.leaveAlone(connection, id);
    if (this.#owed.get(key) === owed) this.#owed.delete(key);
    this.#deps.done(connection, id);
    return { kind: 'done' };
  }

  #seeIfGone(key: ObjectKey, owed: Owed): void {
    if (owed.goneAt !== undefined) return;
    const object = this.#find(key);
    if (object?.uid === owed.object.uid) owed.object = object;
    else if (this.#isKnown()) owed.goneAt = this.#deps.clock.monotonic();
  }

  /** A missing CRD takes every object with it: that says nothing about what should become of their upstreams. */
  #isKnown(): boolean {
    return this.#deps.upstreams.state.state === 'synced';
  }

  #find(key: ObjectKey): GatewayUpstream | undefined {
    const { namespace, name } = splitKey(key);
    return this.#deps.upstreams.get(namespace, name);
  }
}
