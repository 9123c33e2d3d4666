import { OperatorError } from '../core/errors.ts';
import type { ObservedUpstream, UpstreamId } from '../core/model.ts';
import type { GatewayConnection, GatewayUpstream } from '../kube/objects.ts';
import type { StoreView } from '../kube/store.ts';
import type { Logger } from '../runtime/logger.ts';
import type { ConnectionState } from './connections.ts';
import { isForgotten } from './evaluate.ts';
import type { Reporter } from './reporter.ts';

export interface SweepDeps {
  readonly clusterId: string;
  /** With the index `label`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly connectionState: (name: string) => ConnectionState;
  readonly reporter: Reporter;
  readonly log: Logger;
}

/**
 * Finds upstreams that this operator wrote for objects that are gone without their finalizer having run. One is deleted
 * only when two lists in a row showed it.
 */
export class Sweep {
  readonly #deps: SweepDeps;
  readonly #suspects = new Map<string, ReadonlySet<UpstreamId>>();
  readonly #leftBehind = new Map<string, Set<UpstreamId>>();

  constructor(deps: SweepDeps) {
    this.#deps = deps;
  }

  /**
   * Leaves `id` alone from now on, though its labels do not say so: it was to stay, and the gateway could not be told.
   * The status of the connection keeps it over restarts.
   */
  leaveAlone(connection: string, id: UpstreamId): void {
    this.#left(connection).add(id);
  }

  /** What was left alone, for the status of the connection. */
  leftAlone(connection: string): readonly UpstreamId[] {
    return [...this.#left(connection)].sort();
  }

  #left(connection: string): Set<UpstreamId> {
    let left = this.#leftBehind.get(connection);
    if (left === undefined) {
      left = new Set(this.#deps.connections.get('', connection)?.status?.leftBehind);
      this.#leftBehind.set(connection, left);
    }
    return left;
  }

  /** The ids of `observed` that are to be deleted from the gateway of `connection`. */
  forgotten(connection: string, observed: ReadonlyMap<UpstreamId, ObservedUpstream>): readonly UpstreamId[] {
    // A missing CRD takes every object with it: that says nothing about what should become of their upstreams.
    if (this.#deps.upstreams.state.state !== 'synced') return [];
    const before = this.#suspects.get(connection);
    const suspects = new Set<UpstreamId>();
    const left = this.#left(connection);
    // What is gone, or says by its labels that it stays, or has an object again, need not be remembered.
    for (const id of left) {
      const upstream = observed.get(id);
      if (upstream === undefined || !isForgotten(this.#deps, connection, upstream)) left.delete(id);
    }
    for (const [id, upstream] of observed) {
      if (!left.has(id) && isForgotten(this.#deps, connection, upstream)) suspects.add(id);
    }
    this.#suspects.set(connection, suspects);
    return [...suspects].filter((id) => before?.has(id) === true);
  }

  /** Deletes a forgotten upstream, if it still is one. Resolves to false where that failed. */
  async remove(
    connection: string,
    id: UpstreamId,
    references: 'respect' | 'ignore',
    signal: AbortSignal,
  ): Promise<boolean> {
    const { log, reporter, connections, connectionState, upstreams } = this.#deps;
    const state = connectionState(connection);
    if (state.kind !== 'usable') return connections.get('', connection) === undefined;
    try {
      return await state.session.exclusive(id, async (turn) => {
        const upstream = await turn.ask(signal);
        if (upstreams.state.state !== 'synced') return false;
        const isGone = upstream === undefined || !isForgotten(this.#deps, connection, upstream);
        if (isGone) return true;
        await turn.delete(references, signal);
        const message = `Upstream ${id} was deleted from the gateway: the object that it belonged to is gone`;
        log.info({ connection, upstreamId: id, reason: 'Deleted' }, message);
        const object = connections.get('', connection);
        if (object !== undefined) reporter.event(object, { type: 'Normal', reason: 'Deleted', message });
        return true;
      });
    } catch (error) {
      if (state.session.closed) return false;
      if (!(error instanceof OperatorError)) throw error;
      // The next sweep finds it again.
      log.info(
        { connection, upstreamId: id, reason: error.reason },
        `a forgotten upstream stays for now: ${error.message}`,
      );
      const object = connections.get('', connection);
      if (object !== undefined && error.reason === 'InUse') {
        reporter.event(object, {
          type: 'Warning',
          reason: 'InUse',
          message: `Upstream ${id} belongs to an object that is gone, but cannot be deleted: ${error.message}`,
        });
      }
      return false;
    }
  }
}
