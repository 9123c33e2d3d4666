import { CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../../api/group.ts';
import { DELETION_TIMEOUT, durationMs } from '../../api/schema.ts';
import { patternProblem } from '../../decide/access.ts';
import { missingVerdict, summarize } from '../../decide/status.ts';
import type { Vendor } from '../../gateways/vendor.ts';
import type { ObjectWriter } from '../../kube/object-writer.ts';
import type { MissingPermissions } from '../../kube/permissions.ts';
import { GatewayAuthError } from '../../model/errors.ts';
import type { GatewayInfo } from '../../model/gateway.ts';
import { keyOf, objectKey } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { ConnectionOutcome } from '../../model/outcome.ts';
import type { StoreView } from '../../model/store-view.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { Result } from '../../runtime/work-queue.ts';
import type { DataPlaneVerifier } from '../data-planes/verifier.ts';
import type { Finalizers } from '../finalizers.ts';
import type { OrphanCollector } from '../orphan-collector.ts';
import type { Reporter } from '../status/reporter.ts';
import type { ConnectionState } from './connections.ts';

export interface ConnectionReconcilerDeps {
  readonly vendorOf: (type: string) => Vendor;
  readonly connections: StoreView<GatewayConnection>;
  /** With the index `connection`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connectionState: (name: string) => ConnectionState;
  readonly gatewayInfo: (connection: GatewayConnection) => GatewayInfo;
  readonly permissions: MissingPermissions;
  readonly orphans: Pick<OrphanCollector, 'retained' | 'remaining' | 'forget'>;
  readonly finalizers: Pick<Finalizers, 'addTo' | 'refusalOf' | 'forget'>;
  readonly verifier: Pick<DataPlaneVerifier, 'status'>;
  readonly writer: ObjectWriter;
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Between two lists of the gateway of a connection that waits to be deleted. */
const RELEASE_LIST_MS = 5000;
/** How many ids a message names. */
const MAX_NAMED_IDS = 5;

const done: Result = { kind: 'done' };

/** Reconciles one GatewayConnection: keeps it while it is needed, and reports how its gateway is. */
export function createConnectionReconciler(
  deps: ConnectionReconcilerDeps,
): (name: string, signal: AbortSignal) => Promise<Result> {
  /** By name: since when a connection that is being deleted has no users, on the monotonic clock. */
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
      const followup = users.length > 0 ? await deps.finalizers.addTo(connection, signal) : done;
      report(deps, connection, users, undefined);
      return followup;
    }
    if (!connection.finalizers.includes(CONNECTION_FINALIZER)) return done;
    const waiting = waitingFor(deps, connection, users, unusedSince);
    if (waiting !== undefined && !isOverdue(deps, connection, waiting)) {
      report(deps, connection, users, waiting.verdict);
      return waiting.kind === 'gateway' ? { kind: 'after', delayMs: RELEASE_LIST_MS } : done;
    }
    if (waiting !== undefined) reportLeftBehind(deps, connection, waiting.verdict);
    await deps.writer.removeFinalizer('GatewayConnection', connection, CONNECTION_FINALIZER, signal);
    return done;
  };
}

/** Why a connection cannot go yet: an object has an upstream there, or the gateway may hold one without an object. */
interface Waiting {
  readonly kind: 'users' | 'gateway';
  readonly verdict: Verdict;
}

/**
 * A connection is released after a list of its gateway that was asked for after the last user went and that shows no
 * upstream of this operator.
 */
function waitingFor(
  deps: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  users: readonly GatewayUpstream[],
  unusedSince: Map<string, number>,
): Waiting | undefined {
  // Without the finalizer nothing was written for an object.
  const bound = users.filter(({ finalizers }) => finalizers.includes(UPSTREAM_FINALIZER));
  const [first] = bound;
  if (first !== undefined) {
    unusedSince.delete(connection.name);
    const others = bound.length === 1 ? '' : ` and ${bound.length - 1} more`;
    return waiting('users', `GatewayUpstream ${keyOf(first)}${others} use it. Delete them`);
  }
  const now = deps.clock.monotonic();
  const since = unusedSince.get(connection.name) ?? now;
  unusedSince.set(connection.name, since);
  const timeout = deletionTimeoutOf(connection);
  const end = `The connection is deleted after ${timeout} in any case (spec.deletionTimeout), and what the gateway still holds then stays there`;
  const state = deps.connectionState(connection.name);
  if (state.kind === 'unusable') {
    return waiting('gateway', `the gateway cannot be asked what it still holds: ${state.message}. ${end}`);
  }
  const { session } = state;
  if (session.state.kind === 'failing') {
    const { message } = session.state.error;
    return waiting('gateway', `the gateway cannot be asked what it still holds: ${message}. ${end}`);
  }
  const isListed = session.listedAt !== undefined && session.listedAt > since;
  const remaining = deps.orphans.remaining(connection.name);
  if (isListed && remaining.length === 0 && !session.unsettled) return undefined;
  session.listWithin(isListed ? RELEASE_LIST_MS / 2 : 0);
  return waiting(
    'gateway',
    remaining.length === 0
      ? `the gateway is asked what it still holds. ${end}`
      : `the gateway still holds upstreams of this operator without a GatewayUpstream that the operator follows: ${named(remaining)}. ${end}`,
  );
}

function waiting(kind: Waiting['kind'], why: string): Waiting {
  return { kind, verdict: { status: 'False', reason: 'InUse', message: `Waiting to be deleted: ${why}` } };
}

function deletionTimeoutOf({ spec }: GatewayConnection): string {
  return spec.ok ? spec.value.deletionTimeout : DELETION_TIMEOUT;
}

/** A gateway that does not answer must not keep its connection for ever. */
function isOverdue(
  { clock }: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  { kind }: Waiting,
): boolean {
  const end = Date.parse(connection.deletionTimestamp ?? '') + durationMs(deletionTimeoutOf(connection));
  return kind === 'gateway' && clock.now() >= end;
}

function reportLeftBehind(
  { reporter, log }: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  { message }: Verdict,
): void {
  const text = `GatewayConnection ${connection.name} is deleted although its gateway may still hold upstreams of this operator. ${message}`;
  log.warn({ connection: connection.name, reason: 'Orphaned' }, text);
  reporter.event(connection, { type: 'Warning', reason: 'Orphaned', message: text });
}

function named(ids: readonly UpstreamId[]): string {
  const more = ids.length - MAX_NAMED_IDS;
  return `${ids.slice(0, MAX_NAMED_IDS).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** `ending`: what its deletion waits for. */
function report(
  deps: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  users: readonly GatewayUpstream[],
  ending: Verdict | undefined,
): void {
  const state = deps.connectionState(connection.name);
  // The first list says more in a moment; a status in between would only flap.
  const isStarting = state.kind === 'usable' && state.session.state.kind === 'starting';
  if (isStarting && connection.status?.observedGeneration !== undefined) return;
  deps.reporter.connection(connection, outcomeOf(deps, connection, users, ending));
}

const REACHABLE: Verdict = { status: 'True', reason: 'Reachable', message: 'The gateway answers' };
const AUTHORIZED: Verdict = { status: 'True', reason: 'Authorized', message: 'The gateway takes the key' };
const READY: Verdict = { status: 'True', reason: 'Ready', message: 'The gateway answers and takes the key' };

function outcomeOf(
  deps: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  users: readonly GatewayUpstream[],
  ending: Verdict | undefined,
): ConnectionOutcome {
  const state = deps.connectionState(connection.name);
  const { reachable, authorized, problem } = verdictsOf(state);
  const info = deps.gatewayInfo(connection);
  return {
    reachable,
    authorized,
    ready:
      missingVerdict(deps.permissions.lacking('GatewayConnection', '')) ??
      ending ??
      deps.finalizers.refusalOf(connection) ??
      patternVerdict(connection) ??
      problem ??
      summarize([reachable, authorized], READY),
    gatewayVersion: info.version ?? connection.status?.gatewayVersion,
    capabilities: connection.spec.ok
      ? deps.vendorOf(connection.spec.value.type).format.capabilities(info)
      : [],
    upstreams: users.length,
    leftBehind: deps.orphans.retained(connection.name),
    dataPlanes: deps.verifier.status(connection.name),
  };
}

function verdictsOf(state: ConnectionState): {
  readonly reachable: Verdict;
  readonly authorized: Verdict;
  readonly problem?: Verdict;
} {
  if (state.kind === 'unusable') {
    const { reason, message } = state;
    const unknown: Verdict = { status: 'Unknown', reason, message };
    return { reachable: unknown, authorized: unknown, problem: { status: 'False', reason, message } };
  }
  const { session } = state;
  switch (session.state.kind) {
    case 'starting': {
      const pending: Verdict = { status: 'Unknown', reason: 'Pending', message: 'Waiting for the gateway' };
      return { reachable: pending, authorized: pending };
    }
    case 'failing': {
      const { error } = session.state;
      if (error instanceof GatewayAuthError) {
        return {
          reachable: REACHABLE,
          authorized: { status: 'False', reason: error.reason, message: error.message },
        };
      }
      const { reason, message } = error;
      return {
        reachable: { status: 'False', reason, message },
        authorized: { status: 'Unknown', reason, message: 'The gateway could not be asked' },
      };
    }
    case 'ready': {
      const refused = session.writeRefused;
      return {
        reachable: REACHABLE,
        authorized:
          refused === undefined
            ? AUTHORIZED
            : { status: 'False', reason: refused.reason, message: refused.message },
      };
    }
    default:
      return session.state satisfies never;
  }
}

function patternVerdict(connection: GatewayConnection): Verdict | undefined {
  const problem = connection.spec.ok ? patternProblem(connection.spec.value.allowedNamespaces) : undefined;
  if (problem === undefined) return undefined;
  return { status: 'False', reason: 'InvalidSpec', message: `spec.allowedNamespaces: ${problem}` };
}
