import { UPSTREAM_FINALIZER } from '../../api/group.ts';
import { DELETION_TIMEOUT, durationMs } from '../../api/schema.ts';
import { keyOf } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { ConnectionReconcilerDeps } from './deps.ts';

/** Time between two lists of a gateway whose connection is being deleted. */
export const RELEASE_LIST_MS = 5000;
/** Time between two attempts to list a gateway whose list is too large: these lists cost the most. */
const UNLISTABLE_RETRY_MS = 60_000;
/** The maximum number of ids in a message. */
const MAX_NAMED_IDS = 5;

/** Why a connection cannot be deleted yet: an object has an upstream there, or the gateway may contain one without an object. */
interface Waiting {
  /** `unwatched`: the gateway answers, and other operators may manage upstreams there. This wait has no time limit. */
  readonly kind: 'users' | 'gateway' | 'unwatched';
  /** What blocks the deletion, without the remedy. */
  readonly cause: string;
  readonly verdict: Verdict;
}

/**
 * Returns undefined when the connection can be deleted: a list that was requested after the last GatewayUpstream was deleted
 * shows no upstream of this operator.
 */
export function waitingFor(
  deps: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  users: readonly GatewayUpstream[],
  unusedSince: Map<string, number>,
): Waiting | undefined {
  // The operator writes no upstream for an object without the finalizer.
  const bound = users.filter(({ finalizers }) => finalizers.includes(UPSTREAM_FINALIZER));
  const [first] = bound;
  if (first !== undefined) {
    unusedSince.delete(connection.name);
    return bound.length === 1
      ? waiting('users', `GatewayUpstream ${keyOf(first)} uses it`, 'Delete this object')
      : waiting(
          'users',
          `GatewayUpstream ${keyOf(first)} and ${bound.length - 1} more use it`,
          'Delete these objects',
        );
  }
  const now = deps.clock.monotonic();
  const since = unusedSince.get(connection.name) ?? now;
  unusedSince.set(connection.name, since);
  const timeout = deletionTimeoutOf(connection);
  const end = `At the latest, the connection is deleted ${timeout} after its last GatewayUpstream (spec.deletionTimeout), and remaining upstreams stay in the gateway`;
  const state = deps.connectionState(connection.name);
  if (state.kind === 'unusable') return waiting('gateway', uncheckable(state.message), end);
  const { session } = state;
  if (session.state.kind === 'failing') {
    return waiting('gateway', uncheckable(session.state.error.message), end);
  }
  if (session.unlistable !== undefined) {
    session.listWithin(UNLISTABLE_RETRY_MS);
    return waiting('gateway', uncheckable(session.unlistable.message), end);
  }
  const { listedAt } = session;
  const isListed = listedAt !== undefined && listedAt > since && !session.isWritingSince(listedAt);
  const remaining = deps.orphans.remaining(connection.name);
  if (isListed && remaining.length === 0 && !session.hasUnsettledWrites) return undefined;
  session.listWithin(isListed ? RELEASE_LIST_MS / 2 : 0);
  const unwatched = deps.orphans.unwatched(connection.name);
  if (unwatched.length > 0) {
    return waiting(
      'unwatched',
      `the gateway contains upstreams of this operator for namespaces that the operator does not watch: ${named(unwatched)}`,
      'Delete their GatewayUpstreams, or delete the upstreams from the gateway',
    );
  }
  return remaining.length === 0
    ? waiting('gateway', 'the operator checks the gateway for remaining upstreams', end)
    : waiting(
        'gateway',
        `the gateway still contains upstreams of this operator: ${named(remaining)}`,
        `Delete their GatewayUpstreams if they exist. ${end}`,
      );
}

function waiting(kind: Waiting['kind'], cause: string, remedy: string): Waiting {
  const message = `Deletion is pending: ${cause}. ${remedy}`;
  return { kind, cause, verdict: { status: 'False', reason: 'InUse', message } };
}

function uncheckable(problem: string): string {
  return `the operator cannot check the gateway for remaining upstreams: ${problem}`;
}

function deletionTimeoutOf({ spec }: GatewayConnection): string {
  return spec.ok ? spec.value.deletionTimeout : DELETION_TIMEOUT;
}

/**
 * Whether `spec.deletionTimeout` has passed since the last GatewayUpstream was deleted: a gateway that does not answer must
 * not block the deletion of its connection forever. After a restart the time starts again.
 */
export function isOverdue(
  { clock }: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  { kind }: Waiting,
  unusedSince: ReadonlyMap<string, number>,
): boolean {
  if (kind !== 'gateway') return false;
  const since = unusedSince.get(connection.name);
  return since !== undefined && clock.monotonic() >= since + durationMs(deletionTimeoutOf(connection));
}

export function reportLeftBehind(
  { reporter, log }: ConnectionReconcilerDeps,
  connection: GatewayConnection,
  { cause }: Waiting,
): void {
  const text = `GatewayConnection ${connection.name} is deleted after spec.deletionTimeout, but its gateway may still contain upstreams of this operator: ${cause}. Delete these upstreams from the gateway`;
  log.warn({ connection: connection.name, reason: 'Orphaned' }, text);
  reporter.event(connection, { type: 'Warning', reason: 'Orphaned', message: text });
}

function named(ids: readonly UpstreamId[]): string {
  const more = ids.length - MAX_NAMED_IDS;
  return `${ids.slice(0, MAX_NAMED_IDS).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
