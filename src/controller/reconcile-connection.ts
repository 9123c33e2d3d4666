import { CONNECTION_FINALIZER } from '../api/group.ts';
import { patternProblem } from '../core/access.ts';
import { GatewayAuthError } from '../core/errors.ts';
import { missingVerdict, summarize, type Verdict } from '../core/status.ts';
import type { GatewayInfo } from '../gateways/driver.ts';
import { gatewayFormat } from '../gateways/index.ts';
import type { ObjectWriter } from '../kube/object-writer.ts';
import type { GatewayConnection, GatewayUpstream } from '../kube/objects.ts';
import type { MissingPermissions } from '../kube/permissions.ts';
import type { StoreView } from '../kube/store.ts';
import type { Followup } from '../runtime/work-queue.ts';
import { keyOf } from './claims.ts';
import type { ConnectionState } from './connections.ts';
import type { Proof } from './proof.ts';
import type { ConnectionOutcome, Reporter } from './reporter.ts';

export interface ConnectionReconcilerDeps {
  readonly connections: StoreView<GatewayConnection>;
  /** With the index `connection`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connectionState: (name: string) => ConnectionState;
  readonly gatewayInfo: (connection: GatewayConnection) => GatewayInfo;
  readonly permissions: MissingPermissions;
  /** Ids of its upstreams that are left alone. */
  readonly leftBehind: (name: string) => readonly string[];
  /** Whether an upstream of an object that is gone is still to be seen to. */
  readonly holds: (name: string) => boolean;
  readonly proof: Pick<Proof, 'status'>;
  readonly writer: ObjectWriter;
  readonly reporter: Reporter;
}

/** Reconciles one GatewayConnection: keeps it while it is needed, and says how its gateway is. */
export function createConnectionReconciler(
  deps: ConnectionReconcilerDeps,
): (name: string, signal: AbortSignal) => Promise<Followup> {
  return async (name, signal) => {
    const connection = deps.connections.get('', name);
    if (connection === undefined) {
      deps.reporter.forget('GatewayConnection', `/${name}`);
      return { kind: 'done' };
    }
    const users = deps.upstreams.byIndex('connection', name);
    const held = connection.finalizers.includes(CONNECTION_FINALIZER);
    if (connection.deletionTimestamp === undefined) {
      if (users.length > 0 && !held) {
        await deps.writer.addFinalizer('GatewayConnection', connection, CONNECTION_FINALIZER, signal);
      }
    } else if (users.length === 0 && !deps.holds(name)) {
      if (held) {
        await deps.writer.removeFinalizer('GatewayConnection', connection, CONNECTION_FINALIZER, signal);
      }
      return { kind: 'done' };
    }
    const state = deps.connectionState(name);
    // The first list says more in a moment; a status in between would only flap.
    const isStarting = state.kind === 'usable' && state.session.state.kind === 'starting';
    if (isStarting && connection.status?.observedGeneration !== undefined) return { kind: 'done' };
    deps.reporter.connection(connection, outcomeOf(deps, connection, users));
    return { kind: 'done' };
  };
}

const REACHABLE: Verdict = { status: 'True', reason: 'Reachable', message: 'The gateway answers' };
const AUTHORIZED: Verdict = { status: 'True', reason: 'Authorized', message: 'The gateway takes the key' };
const READY: Verdict = { status: 'True', reason: 'Ready', message: 'The gateway answers and takes the key' };

function outcomeOf(
  deps: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  users: readonly GatewayUpstream[],
): ConnectionOutcome {
  const state = deps.connectionState(connection.name);
  const { reachable, authorized, problem } = verdictsOf(state);
  const info = deps.gatewayInfo(connection);
  return {
    reachable,
    authorized,
    ready:
      missingVerdict(deps.permissions.lacking('GatewayConnection', '')) ??
      endingOf(connection, users) ??
      patternVerdict(connection) ??
      problem ??
      summarize([reachable, authorized], READY),
    gatewayVersion: info.version ?? connection.status?.gatewayVersion,
    capabilities: connection.spec.ok ? gatewayFormat(connection.spec.value.type).capabilities(info) : [],
    upstreams: users.length,
    leftBehind: deps.leftBehind(connection.name),
    dataPlanes: deps.proof.status(connection.name),
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

function endingOf(connection: GatewayConnection, users: readonly GatewayUpstream[]): Verdict | undefined {
  const [first] = users;
  if (connection.deletionTimestamp === undefined || first === undefined) return undefined;
  const others = users.length === 1 ? '' : ' and others';
  return {
    status: 'False',
    reason: 'InUse',
    message: `Waiting to be deleted: GatewayUpstream ${keyOf(first)}${others} refer to it`,
  };
}

function patternVerdict(connection: GatewayConnection): Verdict | undefined {
  const problem = connection.spec.ok ? patternProblem(connection.spec.value.allowedNamespaces) : undefined;
  if (problem === undefined) return undefined;
  return { status: 'False', reason: 'InvalidSpec', message: `spec.allowedNamespaces: ${problem}` };
}
