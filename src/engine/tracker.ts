import { backendTargets } from '../decide/backends.ts';
import type { IdConflicts } from '../decide/id-conflicts.ts';
import { keyOf } from '../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { Reference } from '../model/reference.ts';
import type { StoreView } from '../model/store-view.ts';
import type { Clock } from '../runtime/clock.ts';
import { PRIORITY } from '../runtime/lane.ts';
import type { Pace } from '../runtime/pace.ts';
import type { DiscoverySource } from '../sources/source.ts';
import type { DataPlaneVerifier } from './data-planes/verifier.ts';
import type { ObjectState, ObjectStates } from './object-state.ts';
import type { EngineQueue } from './queue.ts';

export interface TrackerDeps {
  readonly states: ObjectStates;
  readonly connections: StoreView<GatewayConnection>;
  readonly source: DiscoverySource<Reference>;
  readonly conflicts: IdConflicts;
  readonly verifier: Pick<DataPlaneVerifier, 'forget'>;
  readonly queue: Pick<EngineQueue, 'addKey'>;
  readonly pace: Pace;
  readonly clock: Clock;
}

/** Keeps the state, the subscriptions and the wanted id of every GatewayUpstream in step with the object. */
export class Tracker {
  readonly #deps: TrackerDeps;

  constructor(deps: TrackerDeps) {
    this.#deps = deps;
  }

  /** The object came, or its spec or connection changed. */
  track(object: GatewayUpstream): void {
    const connection = this.#deps.connections.get('', object.connection);
    const settings = connection?.spec.ok === true ? connection.spec.value : undefined;
    const state = this.#deps.states.track(object);
    const targets = object.spec.ok
      ? backendTargets(object.spec.value, object.namespace, settings?.addressing).filter(
          (target) => target.kind !== 'addresses',
        )
      : [];
    state.usesNodes = targets.some(
      (target) => target.kind === 'service' && target.addressing.mode === 'Node',
    );
    // The old ones end after the new ones began: a source may forget what nobody subscribes to.
    state.subscribe(targets.map(({ ref }) => this.#subscribe(state, ref)));
    this.#wantId(object, settings?.idPrefix);
  }

  /** The object is gone. */
  drop(object: GatewayUpstream): void {
    const key = keyOf(object);
    this.#deps.verifier.forget(key);
    this.#deps.states.drop(key);
    this.#wantId(object, undefined);
  }

  #subscribe(state: ObjectState, ref: Reference): Disposable {
    const { source, queue, pace, clock } = this.#deps;
    return source.subscribe(ref, (what) => {
      if (what === 'source') {
        queue.addKey(state.key, PRIORITY.resync);
        return;
      }
      state.endpointChange.arrived(clock.monotonic());
      pace.urge();
      queue.addKey(state.key, PRIORITY.endpoints);
    });
  }

  /** Others that want the id that the object wants, or wanted, may have it or lose it now. */
  #wantId(object: GatewayUpstream, idPrefix: string | undefined): void {
    const { conflicts, queue } = this.#deps;
    for (const other of conflicts.update(keyOf(object), object, idPrefix)) queue.addKey(other, PRIORITY.spec);
  }
}
