import { UPSTREAM_FINALIZER } from '../api/group.ts';
import { type ObjectKey, splitKey, type UpstreamId } from '../core/model.ts';
import type { ObjectWriter } from '../kube/object-writer.ts';
import type { GatewayUpstream } from '../kube/objects.ts';
import type { StoreView } from '../kube/store.ts';
import type { Followup } from '../runtime/work-queue.ts';
import { keyOf } from './claims.ts';
import type { UpstreamOutcome } from './reconcile-upstream.ts';
import type { Reporter } from './reporter.ts';

export interface LateFinalizersDeps {
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly writer: Pick<ObjectWriter, 'addFinalizer'>;
  readonly reporter: Pick<Reporter, 'upstream'>;
  /** Runs `settle` for the key, and again after a failure. */
  readonly enqueue: (key: ObjectKey) => void;
  /** The object went before its finalizer came: its upstream is nobody's. */
  readonly abandoned: (connection: string, id: UpstreamId) => void;
}

interface Owed {
  readonly uid: string;
  readonly connection: string;
  readonly id: UpstreamId;
  /** What was come to meanwhile. */
  outcome: UpstreamOutcome | undefined;
  /** The API server refused it, or did not answer. */
  failed: boolean;
}

/**
 * The finalizers of objects whose upstream is new in the gateway. They are put on beside the write instead of before it,
 * since the API server takes longer for each than a gateway for its upstream (docs/decisions/0028-finalizers-beside-writes.md).
 * Until one is on nothing is said of the object, so that whoever sees it Ready can rely on its deletion; an object that
 * goes before leaves an upstream that is deleted as a forgotten one: at once, or by the sweep of the next process.
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
    const { uid, connection } = object;
    this.#owed.set(key, { uid, connection, id, outcome: undefined, failed: false });
    this.#deps.enqueue(key);
  }

  /** Whether the finalizer of `object` is under way, and nothing has kept it up. */
  isOwed(object: GatewayUpstream): boolean {
    const owed = this.#owed.get(keyOf(object));
    return owed?.uid === object.uid && !owed.failed;
  }

  /** Has `outcome` reported once the finalizer of `object` is on. */
  report(object: GatewayUpstream, outcome: UpstreamOutcome): void {
    const key = keyOf(object);
    const owed = this.#owed.get(key);
    if (owed === undefined || owed.uid !== object.uid) this.#deps.reporter.upstream(object, outcome);
    else if (object.finalizers.includes(UPSTREAM_FINALIZER)) {
      this.#owed.delete(key);
      this.#deps.reporter.upstream(object, outcome);
    } else owed.outcome = outcome;
  }

  /** Rejects with `KubeApiError`, and is to be run again then. */
  async settle(key: ObjectKey, signal: AbortSignal): Promise<Followup> {
    const owed = this.#owed.get(key);
    const object = this.#find(key);
    if (owed === undefined || object === undefined || object.uid !== owed.uid) {
      this.look(key);
      return { kind: 'done' };
    }
    const { finalizers, deletionTimestamp } = object;
    let isOn = finalizers.includes(UPSTREAM_FINALIZER);
    // One that ends takes no finalizer any more; that it has gone is told by its event.
    if (!isOn && deletionTimestamp === undefined) {
      try {
        isOn = await this.#deps.writer.addFinalizer('GatewayUpstream', object, UPSTREAM_FINALIZER, signal);
      } catch (error) {
        owed.failed = true;
        throw error;
      }
    }
    if (isOn && this.#owed.get(key) === owed) {
      this.#owed.delete(key);
      if (owed.outcome !== undefined) this.#deps.reporter.upstream(this.#find(key) ?? object, owed.outcome);
    }
    return { kind: 'done' };
  }

  /** Has the upstream deleted that was written for an object of this name that is gone. */
  look(key: ObjectKey): void {
    const owed = this.#owed.get(key);
    if (owed === undefined || this.#find(key)?.uid === owed.uid) return;
    this.#owed.delete(key);
    this.#deps.abandoned(owed.connection, owed.id);
  }

  #find(key: ObjectKey): GatewayUpstream | undefined {
    const { namespace, name } = splitKey(key);
    return this.#deps.upstreams.get(namespace, name);
  }
}
