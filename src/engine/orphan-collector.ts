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
  /** The watched namespaces; empty if the operator watches all namespaces. */
  readonly onlyNamespaces: readonly string[];
  /** With the index `label`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly connectionState: (name: string) => ConnectionState;
  readonly reporter: Reporter;
  readonly log: Logger;
}

/** Orphaned upstreams in a list of a gateway. */
export interface Orphans {
  /** Orphans in two consecutive reads: they can be deleted. */
  readonly confirmed: readonly UpstreamId[];
  /** Whether another read has to confirm some orphans. */
  readonly isUnconfirmed: boolean;
}

/** State of orphan collection for one gateway. */
interface OrphanState {
  /** Orphans in the last read. */
  suspects: Set<UpstreamId>;
  /** Ids in the last list that are owned by this operator, with or without an object. */
  remaining: ReadonlySet<UpstreamId>;
  /** The `remaining` ids whose owners are in namespaces that the operator does not watch. */
  unwatched: ReadonlySet<UpstreamId>;
  /** Ids to retain although they lack the label for that. */
  readonly retained: Set<UpstreamId>;
}

/**
 * Deletes orphaned upstreams: upstreams of this operator whose GatewayUpstream was deleted without its finalizer having run.
 * An upstream must be an orphan in two consecutive reads.
 */
export class OrphanCollector {
  readonly #deps: OrphanCollectorDeps;
  readonly #states = new Map<string, OrphanState>();

  constructor(deps: OrphanCollectorDeps) {
    this.#deps = deps;
  }

  /**
   * Excludes `id` from deletion. Its `deletionPolicy` is Orphan, but the gateway was unavailable when the upstream had to be
   * labeled. The status of the connection keeps the id across restarts.
   */
  retain(connection: string, id: UpstreamId): void {
    this.#of(connection).retained.add(id);
  }

  /** The retained ids, sorted. */
  retained(connection: string): readonly UpstreamId[] {
    return [...this.#of(connection).retained].sort();
  }

  /**
   * Ids in the last list that are owned by this operator, sorted. Includes ids whose object exists: an object whose finalizer
   * was removed by hand does not count as a user of the connection.
   */
  remaining(connection: string): readonly UpstreamId[] {
    return [...this.#of(connection).remaining].sort();
  }

  /** The `remaining` ids whose owners are in namespaces that the operator does not watch, sorted. */
  unwatched(connection: string): readonly UpstreamId[] {
    return [...this.#of(connection).unwatched].sort();
  }

  /** Drops the state of a deleted connection. */
  forget(connection: string): void {
    this.#states.delete(connection);
  }

  #of(connection: string): OrphanState {
    let known = this.#states.get(connection);
    if (known === undefined) {
      const retained = this.#deps.connections.get('', connection)?.status?.leftBehind;
      known = {
        suspects: new Set(),
        remaining: new Set(),
        unwatched: new Set(),
        retained: new Set(retained),
      };
      this.#states.set(connection, known);
    }
    return known;
  }

  /** Evaluates a complete list of the gateway of `connection`. */
  listed(connection: string, observed: ReadonlyMap<UpstreamId, ObservedUpstream>): Orphans {
    // If the CRD is missing, so is every object. Their upstreams are not orphans.
    if (!this.#isKnown()) return { confirmed: [], isUnconfirmed: false };
    const known = this.#of(connection);
    const { suspects: before, retained } = known;
    const suspects = new Set<UpstreamId>();
    const remaining = new Set<UpstreamId>();
    const unwatched = new Set<UpstreamId>();
    for (const id of retained) if (!observed.has(id)) retained.delete(id);
    for (const [id, upstream] of observed) {
      const belonging = belongingOf(this.#deps, connection, upstream);
      // The upstream has the label by now, or a GatewayUpstream uses it again.
      if (belonging === 'notOurs' || belonging === 'wanted') retained.delete(id);
      if (belonging === 'notOurs' || retained.has(id)) continue;
      remaining.add(id);
      if (belonging === 'orphaned') suspects.add(id);
      if (belonging === 'unknown') unwatched.add(id);
    }
    known.suspects = suspects;
    known.remaining = remaining;
    known.unwatched = unwatched;
    const confirmed = [...suspects].filter((id) => before.has(id));
    return { confirmed, isUnconfirmed: confirmed.length < suspects.size };
  }

  /** Evaluates a read of one upstream. Returns whether it may be an orphan, which a list has to confirm. */
  suspect(connection: string, upstream: ObservedUpstream): boolean {
    const { retained, suspects } = this.#of(connection);
    if (!this.#isKnown() || retained.has(upstream.id)) return false;
    if (belongingOf(this.#deps, connection, upstream) !== 'orphaned') return false;
    suspects.add(upstream.id);
    return true;
  }

  /** Reads the upstream again and deletes it if it is still an orphan. */
  async remove(connection: string, id: UpstreamId, signal: AbortSignal): Promise<void> {
    const { log, reporter, connections, connectionState } = this.#deps;
    const state = connectionState(connection);
    if (state.kind !== 'usable') return;
    const object = connections.get('', connection);
    try {
      await state.session.exclusive(id, async (lock) => {
        const upstream = await lock.readFresh(signal);
        if (upstream === undefined || !this.#isKnown()) return;
        if (belongingOf(this.#deps, connection, upstream) !== 'orphaned') return;
        await lock.delete('respect', signal);
        const message = `Deleted upstream ${id} from the gateway: its GatewayUpstream no longer exists`;
        log.info({ connection, upstreamId: id, reason: 'Deleted' }, message);
        if (object !== undefined) reporter.event(object, { type: 'Normal', reason: 'Deleted', message });
      });
    } catch (error) {
      if (state.session.closed) return;
      if (!(error instanceof OperatorError)) throw error;
      // The next list finds it again.
      log.info(
        { connection, upstreamId: id, reason: error.reason },
        `the orphaned upstream cannot be deleted yet; retrying after the next list: ${error.message}`,
      );
      if (object !== undefined && error.reason === 'InUse') {
        reporter.event(object, {
          type: 'Warning',
          reason: 'InUse',
          message: `Cannot delete upstream ${id}, whose GatewayUpstream no longer exists: ${error.message}`,
        });
      }
    }
  }

  /** Whether the list of GatewayUpstreams is complete. */
  #isKnown(): boolean {
    return this.#deps.upstreams.state.state === 'synced';
  }
}
