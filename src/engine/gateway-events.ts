import type { IdConflicts } from '../decide/id-conflicts.ts';
import type { GatewayConnection } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import { PRIORITY } from '../runtime/lane.ts';
import type { ConnectionState } from './connection/connections.ts';
import type { DataPlaneVerifier } from './data-planes/verifier.ts';
import type { OrphanCollector } from './orphan-collector.ts';
import type { EngineQueue } from './queue.ts';
import type { ListReport } from './session/options.ts';
import { READ_BACK_MS } from './session/slot.ts';

export interface GatewayEventsDeps {
  readonly connections: StoreView<GatewayConnection>;
  readonly connectionState: (name: string) => ConnectionState;
  readonly conflicts: IdConflicts;
  readonly queue: EngineQueue;
  readonly verifier: Pick<DataPlaneVerifier, 'recheck'>;
  readonly orphans: OrphanCollector;
}

/** Delay of the list that confirms orphans while their connection is being deleted. */
const CONFIRM_SOON_MS = 1000;

/** Turns observations of gateways into queued work. */
export class GatewayEvents {
  readonly #deps: GatewayEventsDeps;

  constructor(deps: GatewayEventsDeps) {
    this.#deps = deps;
  }

  /** Handles a complete list of the gateway of connection `name`. */
  listed(name: string, { recovered, changed, observed }: ListReport): void {
    const { queue, conflicts, verifier, orphans } = this.#deps;
    if (recovered) queue.addUsersOf(name, PRIORITY.resync);
    for (const id of changed) {
      for (const key of conflicts.contenders(name, id)) queue.addKey(key, PRIORITY.resync);
    }
    verifier.recheck(name);
    const { confirmed, isUnconfirmed } = orphans.listed(name, observed);
    if (isUnconfirmed) this.#confirmWithin(name, this.isBeingDeleted(name) ? CONFIRM_SOON_MS : READ_BACK_MS);
    queue.addConnection(name);
    for (const id of confirmed) queue.addOrphan(name, id);
  }

  /** An unanswered write of `id` took effect late, or another client changed the upstream. */
  lateWrite(name: string, id: UpstreamId, observed: ObservedUpstream | undefined): void {
    const { queue, conflicts, orphans } = this.#deps;
    const contenders = conflicts.contenders(name, id);
    for (const key of contenders) queue.addKey(key, PRIORITY.resync);
    if (contenders.length > 0 || observed === undefined) return;
    if (orphans.suspect(name, observed)) this.#confirmWithin(name, READ_BACK_MS);
  }

  /** Data planes confirmed or rejected the last write of `id`. */
  confirmed(name: string, id: UpstreamId): void {
    const { queue, conflicts } = this.#deps;
    for (const key of conflicts.contenders(name, id)) queue.addKey(key, PRIORITY.resync);
  }

  /** Whether a GatewayUpstream uses `id` of connection `name`. */
  isWanted(name: string, id: UpstreamId): boolean {
    return this.#deps.conflicts.contenders(name, id).length > 0;
  }

  stateChanged(name: string, scope: 'everything' | 'connection'): void {
    this.#deps.queue.addConnection(name);
    if (scope === 'everything') this.#deps.queue.addUsersOf(name, PRIORITY.resync);
  }

  isBeingDeleted(name: string): boolean {
    return this.#deps.connections.get('', name)?.deletionTimestamp !== undefined;
  }

  #confirmWithin(name: string, ms: number): void {
    const state = this.#deps.connectionState(name);
    if (state.kind === 'usable') state.session.listWithin(ms);
  }
}
