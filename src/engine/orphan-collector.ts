import { belongingOf } from '../decide/belonging.ts';
import { OperatorError } from '../model/errors.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import type { Logger } from '../runtime/logger.ts';
import type { ConnectionState } from './connection/connections.ts';
import type { Reporter } from './status/reporter.ts';

export interface OrphanCollectorDeps {
  readonly clusterId: string;
  /** The only namespaces whose objects are known. Empty: all. */
  readonly onlyNamespaces: readonly string[];
  /** With the index `label`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly connectionState: (name: string) => ConnectionState;
  readonly reporter: Reporter;
  readonly log: Logger;
}

/** What a list of a gateway shows of upstreams without an object. */
export interface Orphans {
  /** Two readings in a row showed them: they can be deleted. */
  readonly confirmed: readonly UpstreamId[];
  /** Another reading has to confirm some of them. */
  readonly isUnconfirmed: boolean;
}

/**
 * Finds upstreams that this operator wrote for objects that are gone without their finalizer having run. One is deleted
 * only when two readings in a row showed it.
 */
export class OrphanCollector {
  readonly #deps: OrphanCollectorDeps;
  readonly #suspects = new Map<string, Set<UpstreamId>>();
  /** Ids that the last list showed as this operator's, without an object that is known to want them. */
  readonly #remaining = new Map<string, Set<UpstreamId>>();
  readonly #leftBehind = new Map<string, Set<UpstreamId>>();

  constructor(deps: OrphanCollectorDeps) {
    this.#deps = deps;
  }

  /**
   * Leaves `id` alone from now on, though its labels do not say so: it was to stay, and the gateway could not be told.
   * The status of the connection keeps it over restarts.
   */
  retain(connection: string, id: UpstreamId): void {
    this.#left(connection).add(id);
  }

  /** What was left alone, for the status of the connection. */
  retained(connection: string): readonly UpstreamId[] {
    return [...this.#left(connection)].sort();
  }

  /** Ids that the last list showed as this operator's, without an object that is known to want them; in order. */
  remaining(connection: string): readonly UpstreamId[] {
    return [...(this.#remaining.get(connection) ?? [])].sort();
  }

  /** The connection is gone. */
  forget(connection: string): void {
    this.#suspects.delete(connection);
    this.#remaining.delete(connection);
    this.#leftBehind.delete(connection);
  }

  #left(connection: string): Set<UpstreamId> {
    let left = this.#leftBehind.get(connection);
    if (left === undefined) {
      left = new Set(this.#deps.connections.get('', connection)?.status?.leftBehind);
      this.#leftBehind.set(connection, left);
    }
    return left;
  }

  /** What the list `observed` of the gateway of `connection` shows. */
  listed(connection: string, observed: ReadonlyMap<UpstreamId, ObservedUpstream>): Orphans {
    // A missing CRD takes every object with it: that says nothing about what should become of their upstreams.
    if (!this.#isKnown()) return { confirmed: [], isUnconfirmed: false };
    const before = this.#suspects.get(connection);
    const suspects = new Set<UpstreamId>();
    const remaining = new Set<UpstreamId>();
    const left = this.#left(connection);
    for (const id of left) if (!observed.has(id)) left.delete(id);
    for (const [id, upstream] of observed) {
      const belonging = belongingOf(this.#deps, connection, upstream);
      // What says by its labels that it stays, or has an object again, need not be remembered.
      if (belonging === 'notOurs' || belonging === 'wanted') left.delete(id);
      else if (!left.has(id)) {
        remaining.add(id);
        if (belonging === 'orphaned') suspects.add(id);
      }
    }
    this.#suspects.set(connection, suspects);
    this.#remaining.set(connection, remaining);
    const confirmed = [...suspects].filter((id) => before?.has(id) === true);
    return { confirmed, isUnconfirmed: confirmed.length < suspects.size };
  }

  /** A single reading showed `upstream`. Returns whether it looks like an orphan, which a list has to confirm. */
  suspect(connection: string, upstream: ObservedUpstream): boolean {
    if (!this.#isKnown() || this.#left(connection).has(upstream.id)) return false;
    if (belongingOf(this.#deps, connection, upstream) !== 'orphaned') return false;
    const suspects = this.#suspects.get(connection) ?? new Set();
    this.#suspects.set(connection, suspects.add(upstream.id));
    return true;
  }

  /** Deletes an orphaned upstream, if it still is one. */
  async remove(connection: string, id: UpstreamId, signal: AbortSignal): Promise<void> {
    const { log, reporter, connections, connectionState } = this.#deps;
    const state = connectionState(connection);
    if (state.kind !== 'usable') return;
    const object = connections.get('', connection);
    try {
      await state.session.exclusive(id, async (turn) => {
        const upstream = await turn.ask(signal);
        if (upstream === undefined || !this.#isKnown()) return;
        if (belongingOf(this.#deps, connection, upstream) !== 'orphaned') return;
        await turn.delete('respect', signal);
        const message = `Upstream ${id} was deleted from the gateway: the object that it belonged to is gone`;
        log.info({ connection, upstreamId: id, reason: 'Deleted' }, message);
        if (object !== undefined) reporter.event(object, { type: 'Normal', reason: 'Deleted', message });
      });
    } catch (error) {
      if (state.session.closed) return;
      if (!(error instanceof OperatorError)) throw error;
      // The next list finds it again.
      log.info(
        { connection, upstreamId: id, reason: error.reason },
        `an orphaned upstream stays for now: ${error.message}`,
      );
      if (object !== undefined && error.reason === 'InUse') {
        reporter.event(object, {
          type: 'Warning',
          reason: 'InUse',
          message: `Upstream ${id} belongs to an object that is gone, but cannot be deleted: ${error.message}`,
        });
      }
    }
  }

  #isKnown(): boolean {
    return this.#deps.upstreams.state.state === 'synced';
  }
}
