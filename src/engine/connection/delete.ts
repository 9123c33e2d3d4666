import { UPSTREAM_FINALIZER } from '../../api/group.ts';
import { DELETION_TIMEOUT, durationMs } from '../../api/schema.ts';
import { keyOf } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { ConnectionReconcilerDeps } from './deps.ts';

/** Between two lists of the gateway of a connection that waits to be deleted. */
export const RELEASE_LIST_MS = 5000;
/** The same where the list is too large, and costs the most. */
const UNLISTABLE_RETRY_MS = 60_000;
/** How many ids a message names. */
const MAX_NAMED_IDS = 5;

/** Why a connection cannot be deleted yet: an object has an upstream there, or the gateway may contain one without an object. */
interface Waiting {
  /** `unfollowed`: the gateway answers, and other operators may keep upstreams there: that wait has no end. */
  readonly kind: 'users' | 'gateway' | 'unfollowed';
  readonly verdict: Verdict;
}

/**
 * A connection is released after a list of its gateway that was asked for after the last user went and that shows no
 * upstream of this operator.
 */
export function waitingFor(
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
  const end = `In any case the connection is deleted ${timeout} after its last user (spec.deletionTimeout), and what the gateway still holds then stays there`;
  const state = deps.connectionState(connection.name);
  if (state.kind === 'unusable') {
    return waiting('gateway', `the gateway cannot be asked what it still holds: ${state.message}. ${end}`);
  }
  const { session } = state;
  if (session.state.kind === 'failing') {
    const { message } = session.state.error;
    return waiting('gateway', `the gateway cannot be asked what it still holds: ${message}. ${end}`);
  }
  if (session.unlistable !== undefined) {
    session.listWithin(UNLISTABLE_RETRY_MS);
    const { message } = session.unlistable;
    return waiting('gateway', `the gateway cannot be asked what it still holds: ${message}. ${end}`);
  }
  const { listedAt } = session;
  const isListed = listedAt !== undefined && listedAt > since && !session.isWritingSince(listedAt);
  const remaining = deps.orphans.remaining(connection.name);
  if (isListed && remaining.length === 0 && !session.unsettled) return undefined;
  session.listWithin(isListed ? RELEASE_LIST_MS / 2 : 0);
  const unfollowed = deps.orphans.unfollowed(connection.name);
  if (unfollowed.length > 0) {
    return waiting(
      'unfollowed',
      `the gateway holds upstreams of this operator for namespaces that this replica does not follow: ${named(unfollowed)}. Delete their GatewayUpstreams, or those upstreams`,
    );
  }
  return waiting(
    'gateway',
    remaining.length === 0
      ? `the gateway is asked what it still holds. ${end}`
      : `the gateway still holds upstreams of this operator: ${named(remaining)}. Delete their GatewayUpstreams if there are any. ${end}`,
  );
}

function waiting(kind: Waiting['kind'], why: string): Waiting {
  return { kind, verdict: { status: 'False', reason: 'InUse', message: `Waiting to be deleted: ${why}` } };
}

function deletionTimeoutOf({ spec }: GatewayConnection): string {
  return spec.ok ? spec.value.deletionTimeout : DELETION_TIMEOUT;
}

/**
 * A gateway that does not answer must not keep its connection forever. The time runs from when the last user went: until
 * then the gateway could not be asked what remains. After a restart it runs again from the start of the process.
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
