import { UPSTREAM_FINALIZER } from '../../api/group.ts';
import { buildDesired } from '../../decide/build-desired.ts';
import { type DeletionPlan, deletionPlanOf, planDeletion } from '../../decide/deletion.ts';
import {
  deletionDeadline,
  deletionWaitVerdict,
  NOT_RESOLVED_BEFORE_DELETION,
  orphanReason,
  overdueReason,
} from '../../decide/deletion-wait.ts';
import { createTimeOf } from '../../decide/programmed.ts';
import { GatewayUnavailableError, OperatorError, UpstreamInUseError } from '../../model/errors.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Result } from '../../runtime/work-queue.ts';
import type { ObjectState } from '../object-state.ts';
import { applyUpstream } from './apply.ts';
import type { UpstreamReconcilerDeps } from './deps.ts';
import type { PendingDeletion } from './pending-deletion.ts';
import { missingPermission } from './permissions.ts';

/** Retry delays for the deletion of an upstream that is in use. The gateway does not report the end of the use. */
const IN_USE_MIN_MS = 1000;
const IN_USE_MAX_MS = 10_000;

const done: Result = { kind: 'done' };

type ActiveDeletion = Extract<DeletionPlan, { kind: 'ends' }>;

/** An object that is being deleted. */
interface Subject {
  readonly deps: UpstreamReconcilerDeps;
  readonly state: ObjectState;
  readonly object: GatewayUpstream;
  readonly signal: AbortSignal;
}

/** Deletes or retains the upstream according to `spec.deletionPolicy`, then removes the finalizer. */
export async function deleteUpstream(
  deps: UpstreamReconcilerDeps,
  state: ObjectState,
  object: GatewayUpstream,
  signal: AbortSignal,
): Promise<Result> {
  const subject: Subject = { deps, state, object, signal };
  const before = state.pendingDeletion;
  if (before?.generation === object.generation && deps.clock.monotonic() < before.notBefore) {
    return await applyMeanwhile(subject, before);
  }
  if (!object.finalizers.includes(UPSTREAM_FINALIZER)) return done;
  const plan = deletionPlanOf(deps, object);
  if (plan.kind === 'nothing') return await removeFinalizer(subject);
  if (plan.kind === 'left') {
    if (plan.id !== undefined) retain(subject, plan.id);
    announceOrphan(deps, object, plan.why);
    return await removeFinalizer(subject);
  }
  const attempt = await tryDeletion(subject, plan);
  if (attempt === 'starting' || attempt === 'closed') return done;
  if (attempt.failure === undefined) {
    if (plan.policy === 'Orphan') announceOrphan(deps, object, orphanReason(object));
    return await removeFinalizer(subject);
  }
  const { failure } = attempt;
  if (plan.policy === 'Orphan') {
    // An unavailable gateway must not block this deletion: the connection remembers the id.
    retain(subject, plan.id);
    announceOrphan(
      deps,
      object,
      `${orphanReason(object)}, and the operator could not mark it as orphaned: ${failure.message}`,
    );
    return await removeFinalizer(subject);
  }
  return await waitForDeletion(subject, plan, failure, attempt.isDrifted);
}

/** Result of a deletion attempt. `isDrifted`: another client changed the upstream since the last read or write. */
interface Attempt {
  readonly failure: OperatorError | undefined;
  readonly isDrifted: boolean;
}

async function tryDeletion(
  { deps, object, signal }: Subject,
  plan: ActiveDeletion,
): Promise<Attempt | 'starting' | 'closed'> {
  const connection = deps.connectionState(object.connection);
  if (connection.kind !== 'usable') {
    return { failure: new GatewayUnavailableError(connection.message), isDrifted: false };
  }
  const { session } = connection;
  if (session.state.kind === 'starting') return 'starting';
  const { id } = plan;
  let isDrifted = false;
  try {
    await session.exclusive(id, async (lock) => {
      // A deletion cannot be undone, so it must check the current owner of the upstream, not the cached one.
      const known = session.peek(id);
      const observed = await lock.readFresh(signal);
      isDrifted = known !== undefined && observed !== undefined && known.canonical !== observed.canonical;
      const change = planDeletion(deps, object, plan, observed);
      if (change.kind === 'mark') await lock.mark(change.owner, signal);
      else if (change.kind === 'delete') await lock.delete(change.references, signal);
    });
    // Earlier drift does not concern a later object of the same name.
    session.takeDrift(id);
    return { failure: undefined, isDrifted };
  } catch (error) {
    if (session.closed) return 'closed';
    if (!(error instanceof OperatorError)) throw error;
    return { failure: error, isDrifted };
  }
}

async function removeFinalizer({ deps, state, object, signal }: Subject): Promise<Result> {
  deps.verifier.forget(state.key);
  await deps.writer.removeFinalizer('GatewayUpstream', object, UPSTREAM_FINALIZER, signal);
  return done;
}

/** Retries a failed deletion, unless the namespace is being deleted and `spec.deletionTimeout` has passed. */
async function waitForDeletion(
  subject: Subject,
  plan: ActiveDeletion,
  failure: OperatorError,
  isDrifted: boolean,
): Promise<Result> {
  const { deps, state, object } = subject;
  const isNamespaceEnding = deps.namespaces.get('', object.namespace)?.terminating ?? true;
  const leftMs = deletionDeadline(object, object.deletionTimestamp ?? '') - deps.clock.now();
  if (isNamespaceEnding && leftMs <= 0) {
    announceOrphan(deps, object, overdueReason(object, failure));
    return await removeFinalizer(subject);
  }
  const verdict = deletionWaitVerdict(failure, plan.policy);
  if (failure instanceof UpstreamInUseError) {
    const before = state.pendingDeletion;
    const pending: PendingDeletion = {
      verdict,
      generation: object.generation,
      notBefore: deps.clock.monotonic() + IN_USE_MIN_MS,
      rejected: before?.generation === object.generation ? before.rejected : undefined,
      isDrifted,
    };
    state.pendingDeletion = pending;
    return await applyMeanwhile(subject, pending);
  }
  deps.reporter.upstream(object, {
    accepted: buildDesired(deps, object).accepted,
    resolvedRefs: NOT_RESOLVED_BEFORE_DELETION,
    programmed: verdict,
    ready: missingPermission(deps, object) ?? verdict,
    upstreamId: plan.id,
    ...createTimeOf(object, undefined),
  });
  deps.verifier.forget(state.key);
  const connection = deps.connectionState(object.connection);
  if (connection.kind === 'usable' && connection.session.state.kind === 'ready') return { kind: 'backoff' };
  // The recovery of the gateway triggers the next attempt. Until then, only the end of `deletionTimeout` matters.
  return isNamespaceEnding ? { kind: 'after', delayMs: Math.max(leftMs, 0) } : done;
}

/** Keeps the upstream up to date while its deletion is pending: routes that refer to it still send traffic. */
async function applyMeanwhile(
  { deps, state, object, signal }: Subject,
  pending: PendingDeletion,
): Promise<Result> {
  await applyUpstream(deps, state, object, signal, pending);
  return { kind: 'backoff', maxMs: IN_USE_MAX_MS };
}

/** Excludes the upstream from orphan collection. The status of the connection keeps this across restarts. */
function retain(
  { deps: { orphans, enqueueConnection }, object: { connection } }: Subject,
  id: UpstreamId,
): void {
  orphans.retain(connection, id);
  enqueueConnection(connection);
}

function announceOrphan(deps: UpstreamReconcilerDeps, object: GatewayUpstream, why: string): void {
  const { namespace, name, status } = object;
  const message = `Upstream ${status?.upstreamId ?? name} stays in the gateway: ${why}`;
  deps.log.info({ namespace, name, reason: 'Orphaned' }, message);
  deps.reporter.event(object, { type: 'Normal', reason: 'Orphaned', message });
  // A namespace that is being deleted accepts no Events, so the connection gets one.
  const connection = deps.connections.get('', object.connection);
  if (connection === undefined || deps.namespaces.get('', namespace)?.terminating !== true) return;
  deps.reporter.event(connection, {
    type: 'Normal',
    reason: 'Orphaned',
    message: `GatewayUpstream ${namespace}/${name}: ${message}`,
  });
}
