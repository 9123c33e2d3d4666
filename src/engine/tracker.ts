import { backendTargets, type ReferringTarget } from '../decide/backends.ts';
import type { IdConflicts } from '../decide/id-conflicts.ts';
import { mayFollow } from '../decide/registries.ts';
import type { Snapshot } from '../decide/snapshot.ts';
import { keyOf } from '../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { Reference } from '../model/reference.ts';
import type { StoreView } from '../model/store-view.ts';
import type { Clock } from '../runtime/clock.ts';
import { PRIORITY } from '../runtime/lane.ts';
import type { Pace } from '../runtime/pace.ts';
import type { DiscoverySource, SourceChange } from '../sources/source.ts';
import type { DataPlaneVerifier } from './data-planes/verifier.ts';
import type { ObjectState, ObjectStates } from './object-state.ts';
import type { EngineQueue } from './queue.ts';

export interface TrackerDeps extends Pick<Snapshot, 'registries' | 'namespaces'> {
  readonly states: ObjectStates;
  readonly connections: StoreView<GatewayConnection>;
  readonly source: DiscoverySource<Reference>;
  readonly conflicts: IdConflicts;
  readonly verifier: Pick<DataPlaneVerifier, 'forget'>;
  readonly queue: Pick<EngineQueue, 'addKey'>;
  readonly pace: Pace;
  readonly clock: Clock;
}

/** Updates the state, the subscriptions and the upstream id of every GatewayUpstream. */
export class Tracker {
  readonly #deps: TrackerDeps;

  constructor(deps: TrackerDeps) {
    this.#deps = deps;
  }

  /**
   * Handles a new object or a change of its spec or connection, and of what decides which services of registries it may use: the
   * ServiceRegistry and the labels of the namespace.
   */
  track(object: GatewayUpstream): void {
    const connection = this.#deps.connections.get('', object.connection);
    const settings = connection?.spec.ok === true ? connection.spec.value : undefined;
    const state = this.#deps.states.track(object);
    const targets = object.spec.ok
      ? backendTargets(object.spec.value, object.namespace, settings?.addressing).filter(
          (target): target is ReferringTarget =>
            target.kind === 'service' ||
            (target.kind === 'registry' && mayFollow(this.#deps, target.ref, object.namespace, connection)),
        )
      : [];
    state.usesNodes = targets.some(
      (target) => target.kind === 'service' && target.addressing.mode === 'Node',
    );
    // `subscribe` ends the old subscriptions after the new ones exist: a source may drop data without subscribers.
    state.subscribe(targets.map(({ ref }) => this.#subscribe(state, ref, object.namespace)));
    this.#updateId(object, settings?.idPrefix);
  }

  /** Drops the state of a deleted object. */
  drop(object: GatewayUpstream): void {
    const key = keyOf(object);
    this.#deps.verifier.forget(key);
    this.#deps.states.drop(key);
    this.#updateId(object, undefined);
  }

  #subscribe(state: ObjectState, ref: Reference, namespace: string): Disposable {
    const { source, queue, pace, clock } = this.#deps;
    const onChange = (changed: SourceChange) => {
      if (changed === 'source') {
        queue.addKey(state.key, PRIORITY.resync);
        return;
      }
      state.endpointChange.arrived(clock.monotonic());
      pace.urge();
      queue.addKey(state.key, PRIORITY.endpoints);
    };
    return source.subscribe(ref, onChange, namespace);
  }

  /** Updates id conflicts and reconciles the other objects that want the same id. */
  #updateId(object: GatewayUpstream, idPrefix: string | undefined): void {
    const { conflicts, queue } = this.#deps;
    for (const other of conflicts.update(keyOf(object), object, idPrefix)) queue.addKey(other, PRIORITY.spec);
  }
}
