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

/** What is known of the upstreams of one gateway that have no object. */
interface UpstreamsWithoutObject {
  /** Ids that the last reading showed as orphans. */
  suspects: Set<UpstreamId>;
  /** Ids that the last list showed as this operator's, with or without an object. */
  remaining: ReadonlySet<UpstreamId>;
  /** Those of them whose objects would be in namespaces that this operator does not follow. */
  unwatched: ReadonlySet<UpstreamId>;
  /** Ids that stay although their labels do not say so. */
  readonly retained: Set<UpstreamId>;
}

/**
 * Finds upstreams that this operator wrote for objects that are gone without their finalizer having run. One is deleted
 * only when two readings in a row showed it.
 */
export class OrphanCollector {
  readonly #deps: OrphanCollectorDeps;
  readonly #ofConnection = new Map<string, UpstreamsWithoutObject>();

  constructor(deps: OrphanCollectorDeps) {
    this.#deps = deps;
  }

  /**
   * Never deletes `id` from now on, although its labels do not say so: its policy was to stay, and the gateway did not
   * answer. The status of the connection keeps it over restarts.
   */
  retain(connection: string, id: UpstreamId): void {
    this.#of(connection).retained.add(id);
  }

  /** The ids that are retained, in order. */
  retained(connection: string): readonly UpstreamId[] {
    return [...this.#of(connection).retained].sort();
  }

  /**
   * Ids that the last list showed as this operator's, in order: also those of objects that exist, since an object whose
   * finalizer was removed by hand holds nothing.
   */
  remaining(connection: string): readonly UpstreamId[] {
    return [...this.#of(connection).remaining].sort();
  }

  /** Those of `remaining` whose objects would be in namespaces that this operator does not follow. */
  unwatched(connection: string): readonly UpstreamId[] {
    return [...this.#of(connection).unwatched].sort();
  }

  /** The connection is gone. */
  forget(connection: string): void {
    this.#ofConnection.delete(connection);
  }

  #of(connection: string): UpstreamsWithoutObject {
    let known = this.#ofConnection.get(connection);
    if (known === undefined) {
      const retained = this.#deps.connections.get('', connection)?.status?.leftBehind;
      known = {
        suspects: new Set(),
        remaining: new Set(),
        unwatched: new Set(),
        retained: new Set(retained),
      };
      this.#ofConnection.set(connection, known);
    }
    return known;
  }

  /** What the list `observed` of the gateway of `connection` shows. */
  listed(connection: string, observed: ReadonlyMap<UpstreamId, ObservedUpstream>): Orphans {
    // A missing CRD takes every object with it: that says nothing about what should become of their upstreams.
    if (!this.#isKnown()) return { confirmed: [], isUnconfirmed: false };
    const known = this.#of(connection);
    const { suspects: before, retained } = known;
    const suspects = new Set<UpstreamId>();
    const remaining = new Set<UpstreamId>();
    const unwatched = new Set<UpstreamId>();
    for (const id of retained) if (!observed.has(id)) retained.delete(id);
    for (const [id, upstream] of observed) {
      const belonging = belongingOf(this.#deps, connection, upstream);
      // Its labels say that it stays, or it has an object again.
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

  /** A single reading showed `upstream`. Returns whether it looks like an orphan, which a list has to confirm. */
  suspect(connection: string, upstream: ObservedUpstream): boolean {
    const { retained, suspects } = this.#of(connection);
    if (!this.#isKnown() || retained.has(upstream.id)) return false;
    if (belongingOf(this.#deps, connection, upstream) !== 'orphaned') return false;
    suspects.add(upstream.id);
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

  #isKnown(): boolean {
    return this.#deps.upstreams.state.state === 'synced';
  }
}
