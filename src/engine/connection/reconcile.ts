import { CONNECTION_FINALIZER } from '../../api/group.ts';
import {
  CONNECTION_READY,
  connectionVerdicts,
  type GatewayStanding,
  patternVerdict,
} from '../../decide/connection-verdicts.ts';
import { missingVerdict, summarize } from '../../decide/status.ts';
import { objectKey } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { ConnectionOutcome } from '../../model/outcome.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Result } from '../../runtime/work-queue.ts';
import { connectedPlanes } from '../session/confirmation.ts';
import type { ConnectionState } from './connections.ts';
import { isOverdue, RELEASE_LIST_MS, reportLeftBehind, waitingFor } from './delete.ts';
import type { ConnectionReconcilerDeps } from './deps.ts';

const done: Result = { kind: 'done' };

/** Reconciles one GatewayConnection: delays its deletion while it is in use, and reports the state of its gateway. */
export function createConnectionReconciler(
  deps: ConnectionReconcilerDeps,
): (name: string, signal: AbortSignal) => Promise<Result> {
  /** By name: since when a connection that is being deleted has no GatewayUpstreams (monotonic). */
  const unusedSince = new Map<string, number>();
  return async (name, signal) => {
    const connection = deps.connections.get('', name);
    if (connection === undefined) {
      const key = objectKey('', name);
      deps.reporter.forget('GatewayConnection', key);
      deps.finalizers.forget(name);
      deps.orphans.forget(name);
      unusedSince.delete(name);
      return done;
    }
    const users = deps.upstreams.byIndex('connection', name);
    if (connection.deletionTimestamp === undefined) {
      unusedSince.delete(name);
      const result = users.length > 0 ? await deps.finalizers.addTo(connection, signal) : done;
      report(deps, connection, users, undefined);
      return result;
    }
    if (!connection.finalizers.includes(CONNECTION_FINALIZER)) return done;
    const waiting = waitingFor(deps, connection, users, unusedSince);
    if (waiting !== undefined && !isOverdue(deps, connection, waiting, unusedSince)) {
      report(deps, connection, users, waiting.verdict);
      return waiting.kind !== 'users' ? { kind: 'after', delayMs: RELEASE_LIST_MS } : done;
    }
    if (waiting !== undefined) reportLeftBehind(deps, connection, waiting);
    await deps.writer.removeFinalizer('GatewayConnection', connection, CONNECTION_FINALIZER, signal);
    return done;
  };
}

/** `deletion`: the verdict of a pending deletion. */
function report(
  deps: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  users: readonly GatewayUpstream[],
  deletion: Verdict | undefined,
): void {
  const state = deps.connectionState(connection.name);
  // The first list completes soon. A status before it would only flap.
  const isStarting = state.kind === 'usable' && state.session.state.kind === 'starting';
  if (isStarting && connection.status?.observedGeneration !== undefined) return;
  deps.reporter.connection(connection, outcomeOf(deps, connection, users, deletion));
}

function outcomeOf(
  deps: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  users: readonly GatewayUpstream[],
  deletion: Verdict | undefined,
): ConnectionOutcome {
  const state = deps.connectionState(connection.name);
  const { reachable, authorized, problem } = connectionVerdicts(standingOf(state));
  const info = deps.gatewayInfo(connection);
  return {
    reachable,
    authorized,
    ready:
      missingVerdict(deps.permissions.lacking('GatewayConnection', '')) ??
      deletion ??
      deps.finalizers.failureVerdict(connection) ??
      patternVerdict(connection) ??
      problem ??
      summarize([reachable, authorized], CONNECTION_READY),
    gatewayVersion: info.version ?? connection.status?.gatewayVersion,
    capabilities: connection.spec.ok
      ? deps.vendorOf(connection.spec.value.type).format.capabilities(info)
      : [],
    upstreams: users.length,
    leftBehind: deps.orphans.retained(connection.name),
    dataPlanes: deps.verifier.status(connection.name) ?? connectedPlanes(state),
  };
}

function standingOf(state: ConnectionState): GatewayStanding {
  if (state.kind === 'unusable') return state;
  const { session } = state;
  if (session.state.kind !== 'ready') return session.state;
  return { kind: 'ready', writeRefused: session.writeRefused, unlistable: session.unlistable };
}
