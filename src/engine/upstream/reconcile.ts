import { MAX_PLANNED_CHANGES, REMOVAL_GUARD_DEFAULTS } from '../../api/gateway-upstream.ts';
import { ACCEPT_REMOVAL_ANNOTATION, CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../../api/group.ts';
import { DELETION_TIMEOUT, durationMs } from '../../api/schema.ts';
import { buildDesired, type DesiredState } from '../../decide/build-desired.ts';
import type { Desired } from '../../decide/build-upstream.ts';
import { certificateName } from '../../decide/certificates.ts';
import { type DeletionPlan, deletionPlanOf, planDeletion } from '../../decide/deletion.ts';
import { describeChange, fieldChanges, nodesIn, type PlannedChange, withNodesOf } from '../../decide/diff.ts';
import { type Change, type Terms, upstreamNotFound } from '../../decide/diff-upstream.ts';
import { basisOf } from '../../decide/guarded-desired.ts';
import { lastAnswersOf } from '../../decide/last-answers.ts';
import { createTimeSeconds } from '../../decide/owner.ts';
import { type Decision, planChange } from '../../decide/plan-change.ts';
import { referredNamespaces } from '../../decide/references.ts';
import { noTimeNote } from '../../decide/removal-guard.ts';
import type { Snapshot } from '../../decide/snapshot.ts';
import { kubeTime, missingVerdict, summarize } from '../../decide/status.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import type { ObjectWriter } from '../../kube/object-writer.ts';
import type { MissingPermissions } from '../../kube/permissions.ts';
import {
  GatewayAuthError,
  GatewayUnavailableError,
  OperatorError,
  UpstreamInUseError,
} from '../../model/errors.ts';
import { keyOf, type ObjectKey, splitKey } from '../../model/keys.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import type { UpstreamOutcome } from '../../model/outcome.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { Result } from '../../runtime/work-queue.ts';
import type { ConnectionState } from '../connection/connections.ts';
import type { DataPlaneVerifier } from '../data-planes/verifier.ts';
import type { Finalizers } from '../finalizers.ts';
import type { Instruments } from '../instruments.ts';
import type { ObjectState, ObjectStates } from '../object-state.ts';
import type { OrphanCollector } from '../orphan-collector.ts';
import type { Reporter } from '../status/reporter.ts';
import type { PendingDeletion, RefusedContent } from './pending-deletion.ts';

export interface UpstreamReconcilerDeps extends Snapshot {
  readonly states: ObjectStates;
  readonly connectionState: (name: string) => ConnectionState;
  readonly permissions: MissingPermissions;
  readonly orphans: Pick<OrphanCollector, 'retain'>;
  readonly writer: ObjectWriter;
  readonly reporter: Reporter;
  readonly finalizers: Pick<Finalizers, 'request' | 'refusalOf'>;
  /** Adds the finalizer of a connection soon. */
  readonly bindConnection: (name: string) => void;
  readonly verifier: Pick<DataPlaneVerifier, 'expect' | 'forget'>;
  readonly instruments: Pick<Instruments, 'propagated' | 'suppressed'>;
  readonly clock: Clock;
  readonly log: Logger;
}

const PROGRAMMED: Verdict = {
  status: 'True',
  reason: 'Programmed',
  message: 'The gateway holds exactly this, by its own answer',
};

/** Between two tries to delete an upstream that something refers to: the gateway does not say when that ends. */
const IN_USE_MIN_MS = 1000;
const IN_USE_MAX_MS = 10_000;
/** Before a refused object is tried again although nothing changed: the gateway may have. */
const REJECTED_RETRY_MS = 600_000;
const UNAUTHORIZED_RETRY_MS = 30_000;
/** What one Event tells of. */
const MAX_TOLD_CHANGES = 10;

const done: Result = { kind: 'done' };

/**
 * Reconciles one GatewayUpstream: read what is wanted and what is there, plan, apply, report. Everything that goes
 * wrong on the way arrives here as an `OperatorError` and leaves as an outcome.
 */
export function createUpstreamReconciler(
  deps: UpstreamReconcilerDeps,
): (key: ObjectKey, signal: AbortSignal) => Promise<Result> {
  return async (key, signal) => {
    const { namespace, name } = splitKey(key);
    const object = deps.upstreams.get(namespace, name);
    if (object === undefined) return done;
    const state = deps.states.track(object);
    try {
      if (object.deletionTimestamp !== undefined) {
        return await release(deps, state, object, object.deletionTimestamp, signal);
      }
      return await program(deps, state, object, signal);
    } catch (error) {
      if (error instanceof KubeApiError && error.status === 403) reportMissing(deps, object);
      throw error;
    }
  };
}

/** Makes the gateway hold what `object` asks for; with `wait` for as long as it cannot be deleted. */
async function program(
  deps: UpstreamReconcilerDeps,
  objectState: ObjectState,
  object: GatewayUpstream,
  signal: AbortSignal,
  wait: PendingDeletion | undefined = undefined,
): Promise<Result> {
  const { reporter, instruments } = deps;
  const { endpointChange, removalGuard } = objectState;
  const changedAt = endpointChange.take();
  const missing = missingPermission(deps, object);
  const evaluation = buildDesired(deps, object);
  if (evaluation.kind === 'refused') {
    const outcome = refused(object, evaluation.accepted);
    reporter.upstream(object, {
      ...outcome,
      programmed: wait?.verdict ?? outcome.programmed,
      ready: missing ?? wait?.verdict ?? outcome.ready,
    });
    return done;
  }
  objectState.lastAnswers = lastAnswersOf(evaluation.backends);
  const { accepted, spec, id, terms } = evaluation;
  // Until the gateway was looked at; then it is what the removal guard lets pass.
  let { desired } = evaluation;

  if (desired.action === 'notYet') {
    // The source calls again in a moment, and a status in between would only flap; unless it may not read at all.
    reportMissing(deps, object);
    return done;
  }

  const report = (
    programmed: Verdict,
    observed: ObservedUpstream | undefined,
    looked: { readonly guard?: Decision['guard']; readonly plan?: PlannedChange } | undefined = undefined,
  ) => {
    const resolvedRefs: Verdict = accepted.status === 'True' ? desired.resolvedRefs : notLooked;
    reporter.upstream(object, {
      accepted,
      resolvedRefs,
      programmed: wait?.verdict ?? programmed,
      ready:
        missing ??
        wait?.verdict ??
        deps.finalizers.refusalOf(object) ??
        summarize([accepted, resolvedRefs, programmed], desired.ready),
      upstreamId: id,
      ...(desired.action === 'wait' ? {} : { endpoints: desired }),
      ...(looked?.plan === undefined ? {} : { plan: looked.plan }),
      ...(looked === undefined
        ? {}
        : { removalHeld: looked.guard === undefined ? 'nothing' : heldVerdict(object, looked.guard) }),
      // That of somebody else's upstream must never get into the status: it would prove later that it is ours.
      ...(terms.manage === 'Nodes' ? {} : createTimeOf(object, observed)),
    });
  };

  const state = deps.connectionState(object.connection);
  if (state.kind !== 'usable') {
    endpointChange.restore(changedAt);
    report({ status: 'Unknown', reason: 'GatewayUnavailable', message: state.message }, undefined);
    return done;
  }
  const { session } = state;
  if (session.state.kind === 'starting') {
    endpointChange.restore(changedAt);
    return done;
  }
  let sent: RefusedContent | undefined;
  try {
    return await session.exclusive(id, async (turn) => {
      const decideFor = (held: ObservedUpstream | undefined) =>
        planChange(deps, evaluation, object, held, (upstream) => session.canonical(upstream));
      let observed = await turn.read(objectState.knownSince, signal);
      let decision = decideFor(observed);
      if (isTakeOver(decision.change)) {
        // What somebody else added since it was seen last must not be overwritten unread.
        observed = await turn.ask(signal);
        decision = decideFor(observed);
      }
      const { change, canonical, guard } = decision;
      let { own } = decision;
      ({ desired } = decision);
      if (accepted.status !== 'True' && own === undefined) {
        report(notAccepted, undefined);
        return done;
      }
      if (spec.syncPolicy === 'Observe' && change.kind !== 'blocked') {
        if (change.kind !== 'none') deps.verifier.forget(keyOf(object));
        const plan = describeChange(change, canonical, MAX_PLANNED_CHANGES);
        report(observedVerdict(change, accepted, desired, observed, canonical), own, { ...decision, plan });
        return done;
      }
      // It went meanwhile, and so may the object; or the gateway said already what it makes of this.
      if (
        wait !== undefined &&
        (change.kind === 'create' || isTakeOver(change) || isRefused(deps, wait, canonical, observed))
      ) {
        remember(objectState, evaluation, own, guard);
        report(PROGRAMMED, own, decision);
        return done;
      }
      const isHeld = change.kind === 'none' && observed?.canonical === canonical;
      if (isHeld && own !== undefined) observed = own = session.share(own, desired.upstream);
      const writes = change.kind === 'create' || change.kind === 'update' || change.kind === 'updateNodes';
      if (own !== undefined || isHeld || writes) {
        const isUrgent = changedAt !== undefined;
        const unbound = bind(deps, object, change, { manage: terms.manage, isUrgent });
        if (unbound !== undefined) {
          endpointChange.restore(changedAt);
          if (unbound !== 'soon') report(unbound, undefined);
          return done;
        }
      }
      const kept = terms.manage === 'Nodes' && change.kind !== 'blocked' ? observed : own;
      remember(objectState, evaluation, kept, guard);
      const next = afterHold(deps, guard);
      const written = (given: ObservedUpstream, wanted: string): Result => {
        const answered =
          terms.manage === 'Object' && given.canonical === wanted
            ? session.share(given, desired.upstream)
            : given;
        if (changedAt !== undefined) {
          instruments.propagated(object.connection, deps.clock.monotonic() - changedAt);
        }
        removalGuard.wrote(decision.desired.upstream.nodes, decision.lost);
        report(writtenVerdict(wanted, answered), answered, decision);
        deps.verifier.expect(object, answered, { replaced: observed });
        if (wait !== undefined) {
          wait.isDrifted = false;
          wait.refused = answered.canonical === wanted ? undefined : refusal(deps, canonical, answered);
        }
        return answered.canonical === wanted ? next : { kind: 'after', delayMs: REJECTED_RETRY_MS };
      };
      switch (change.kind) {
        case 'none':
          instruments.suppressed(object.connection);
          report(nothingToWrite(accepted, desired, observed, canonical), own, decision);
          if (isHeld && observed !== undefined) {
            // What somebody changed is right again, or nothing of ours.
            session.takeDrift(id);
            deps.verifier.expect(object, observed, undefined);
          }
          return next;
        case 'blocked':
          report(change.programmed, undefined);
          deps.verifier.forget(keyOf(object));
          return { kind: 'after', delayMs: REJECTED_RETRY_MS };
        case 'updateNodes': {
          const answered = await turn.putNodes(change.desired.nodes, signal);
          const before = session.takeDrift(id);
          if (answered === undefined) {
            report(terms.manage === 'Nodes' ? upstreamNotFound(id) : notAccepted, undefined);
            deps.verifier.forget(keyOf(object));
            return { kind: 'after', delayMs: REJECTED_RETRY_MS };
          }
          if (before !== undefined && nodesIn(before.canonical) !== nodesIn(change.observed.canonical)) {
            repaired(deps, object, `Somebody changed the nodes of upstream ${id} in the gateway; they were`);
          }
          // Whatever else its owner changed meanwhile is right.
          return written(answered, withNodesOf(canonical, answered.canonical));
        }
        case 'create':
        case 'update': {
          sent = refusal(deps, canonical, observed);
          const answered = await turn.put(change.desired, signal);
          const drifted = session.takeDrift(id) !== undefined || wait?.isDrifted === true;
          if (change.kind === 'update' && change.from === 'unowned') adopted(deps, object, change, canonical);
          else if (change.kind === 'update' && change.from === 'stripped') {
            repaired(
              deps,
              object,
              `Somebody replaced upstream ${id} in the gateway, labels included; it was`,
            );
          } else if (drifted) {
            repaired(deps, object, `Somebody changed or deleted upstream ${id} in the gateway; it was`);
          }
          return written(answered, canonical);
        }
        default:
          return change satisfies never;
      }
    });
  } catch (error) {
    if (error instanceof GatewayUnavailableError || error instanceof GatewayAuthError) {
      endpointChange.restore(changedAt);
    }
    if (session.closed) return done;
    if (!(error instanceof OperatorError)) throw error;
    if (wait !== undefined && error.reason === 'Rejected') wait.refused = sent;
    report(
      {
        status: error instanceof GatewayUnavailableError ? 'Unknown' : 'False',
        reason: error.reason,
        message: error.message,
      },
      undefined,
    );
    return afterFailure(error, session.state.kind === 'failing');
  }
}

function missingPermission(
  { permissions }: UpstreamReconcilerDeps,
  object: GatewayUpstream,
): Verdict | undefined {
  return missingVerdict(
    permissions.lacking('GatewayUpstream', object.namespace, {
      referred: referredNamespaces(object),
      certificate: certificateName(object) !== undefined,
    }),
  );
}

/** Says why nothing was come to, where a missing right is why; everything else stays as it was said last. */
function reportMissing(deps: UpstreamReconcilerDeps, object: GatewayUpstream): void {
  const ready = missingPermission(deps, object);
  if (ready === undefined) return;
  const unknown: Verdict = { status: 'Unknown', reason: 'PermissionMissing', message: ready.message };
  const kept = (type: string): Verdict => {
    const before = object.status?.conditions?.find((condition) => condition.type === type);
    return before === undefined
      ? unknown
      : { status: before.status, reason: before.reason as Verdict['reason'], message: before.message };
  };
  const { upstreamId } = object.status ?? {};
  deps.reporter.upstream(object, {
    accepted: kept('Accepted'),
    resolvedRefs: kept('ResolvedRefs'),
    programmed: kept('Programmed'),
    ready,
    ...(upstreamId === undefined ? {} : { upstreamId }),
    ...createTimeOf(object, undefined),
  });
}

/** What to do with a key whose request failed. While the whole gateway fails, its recovery brings every key back. */
function afterFailure(error: OperatorError, gatewayFailing: boolean): Result {
  if (gatewayFailing) return done;
  if (error.reason === 'Rejected') return { kind: 'after', delayMs: REJECTED_RETRY_MS };
  // Another key makes another session; the write of one object finds out for all whether this one may write by now.
  if (error instanceof GatewayAuthError) return { kind: 'after', delayMs: UNAUTHORIZED_RETRY_MS };
  if (error instanceof GatewayUnavailableError && error.retryAfterMs !== undefined) {
    return { kind: 'after', delayMs: error.retryAfterMs };
  }
  return { kind: 'backoff' };
}

function isTakeOver(change: Change): boolean {
  return change.kind === 'update' && change.from === 'unowned';
}

/** What was taken over is told, with what changed of it. */
function adopted(
  deps: UpstreamReconcilerDeps,
  object: GatewayUpstream,
  change: Extract<Change, { kind: 'update' }>,
  canonical: string,
): void {
  const { changes, more } = describeChange(change, canonical, MAX_TOLD_CHANGES);
  const message = `Upstream ${change.desired.id}, which nobody owned, was taken over: ${changes.join(', ')}${more === 0 ? '' : ` and ${more} more`}`;
  deps.log.info({ namespace: object.namespace, name: object.name, reason: 'Adopted' }, message);
  deps.reporter.event(object, { type: 'Normal', reason: 'Adopted', message });
}

/** Drift is repaired and told. */
function repaired(deps: UpstreamReconcilerDeps, object: GatewayUpstream, what: string): void {
  const message = `${what} written again`;
  deps.log.info({ namespace: object.namespace, name: object.name, reason: 'Repaired' }, message);
  deps.reporter.event(object, { type: 'Normal', reason: 'Repaired', message });
}

const notAccepted: Verdict = {
  status: 'Unknown',
  reason: 'Pending',
  message: 'Nothing is written, since the object is not accepted',
};

const notLooked: Verdict = {
  status: 'Unknown',
  reason: 'Pending',
  message: 'Not looked at, since the object is not accepted',
};

/** The Programmed verdict of a write, by what the gateway answered that it holds now. */
function writtenVerdict(canonical: string, answered: ObservedUpstream): Verdict {
  if (answered.canonical === canonical) return PROGRAMMED;
  const fields = fieldChanges(canonical, answered.canonical).map(({ field }) => field);
  return {
    status: 'False',
    reason: 'Rejected',
    message: `The gateway took the upstream, and answered that it holds something else in ${fields.join(', ') || 'nodes'}: find out what changes it there`,
  };
}

/** The Programmed verdict where the plan has nothing to do. */
function nothingToWrite(
  accepted: Verdict,
  desired: Desired,
  observed: ObservedUpstream | undefined,
  canonical: string,
): Verdict {
  if (observed?.canonical === canonical) return PROGRAMMED;
  if (accepted.status !== 'True') return notAccepted;
  return observed === undefined
    ? {
        status: 'False',
        reason: 'Pending',
        message: 'Nothing to write yet: the gateway has no such upstream',
      }
    : {
        status: 'Unknown',
        reason: 'Pending',
        message: `The gateway keeps what it has: ${desired.resolvedRefs.message}`,
      };
}

/** Keeps what the removal guard needs to know at the next look. */
function remember(
  { removalGuard }: ObjectState,
  evaluation: Extract<DesiredState, { kind: 'evaluated' }>,
  observed: ObservedUpstream | undefined,
  guard: Decision['guard'],
): void {
  removalGuard.read(basisOf(evaluation), observed?.nodes ?? []);
  removalGuard.guard(guard?.since);
}

/** When to look again because something that is held may go. */
function afterHold({ clock }: UpstreamReconcilerDeps, guard: Decision['guard']): Result {
  if (guard?.until === undefined) return done;
  return { kind: 'after', delayMs: Math.max(0, guard.until - clock.now()) };
}

/** What RemovalHeld says. */
function heldVerdict(
  { namespace, name, acceptRemoval, spec }: GatewayUpstream,
  { since }: NonNullable<Decision['guard']>,
): Verdict {
  const { holdFor, whenExpired } = spec.ok ? spec.value.removalGuard : REMOVAL_GUARD_DEFAULTS;
  const end = whenExpired === 'Hold' ? 'until somebody accepts it' : `for up to ${holdFor}`;
  const word = `kubectl annotate --overwrite -n ${namespace} gwu/${name} ${ACCEPT_REMOVAL_ANNOTATION}=${kubeTime(since)}`;
  return {
    status: 'True',
    reason: 'RemovalHeld',
    message: `Most endpoints went away at once and nothing explains it: those that are listed but not ready stay in the gateway ${end}, those that vanished for up to 30s. Look at the Pods. To let them go now: ${word}${noTimeNote(acceptRemoval)}`,
  };
}

/** The Programmed verdict where nothing may be written. */
function observedVerdict(
  change: Change,
  accepted: Verdict,
  desired: Desired,
  observed: ObservedUpstream | undefined,
  canonical: string,
): Verdict {
  if (change.kind === 'none') return nothingToWrite(accepted, desired, observed, canonical);
  const what = change.kind === 'create' ? 'has no such upstream' : 'holds something else';
  return {
    status: 'False',
    reason: 'Observed',
    message: `Nothing is written, since spec.syncPolicy is Observe, and the gateway ${what}: status.plan says what Sync would write`,
  };
}

/** The outcome for an object that is refused before anything is looked at; the gateway keeps what it has. */
function refused(object: GatewayUpstream, accepted: Verdict): UpstreamOutcome {
  return {
    accepted,
    resolvedRefs: notLooked,
    programmed: notAccepted,
    ready: accepted,
    ...(object.status?.upstreamId === undefined ? {} : { upstreamId: object.status.upstreamId }),
    ...createTimeOf(object, undefined),
  };
}

function createTimeOf(
  object: GatewayUpstream,
  observed: ObservedUpstream | undefined,
): { readonly createTime?: number } {
  const createTime = observed?.createTime ?? createTimeSeconds(object);
  return createTime === undefined ? {} : { createTime };
}

/**
 * Sees to the finalizers of the object and of its connection. They come before the first write, so that no upstream
 * outlives its object unseen. What the gateway holds already follows its endpoints meanwhile. Returns why `change` has
 * to wait: `soon`, or the refusal of the API server.
 */
function bind(
  deps: UpstreamReconcilerDeps,
  object: GatewayUpstream,
  change: Change,
  { manage, isUrgent }: Pick<Terms, 'manage'> & { readonly isUrgent: boolean },
): Verdict | 'soon' | undefined {
  const connection = deps.connections.get('', object.connection);
  const isConnectionBound = connection?.finalizers.includes(CONNECTION_FINALIZER) === true;
  const isBound = object.finalizers.includes(UPSTREAM_FINALIZER);
  if (!isBound) deps.finalizers.request(object, isUrgent);
  if (!isConnectionBound) deps.bindConnection(object.connection);
  if (isBound && isConnectionBound) return undefined;
  const isFirst =
    change.kind === 'create' || isTakeOver(change) || (change.kind === 'updateNodes' && manage === 'Nodes');
  if (!isFirst) return undefined;
  const refusal =
    deps.finalizers.refusalOf(object) ??
    (connection === undefined ? undefined : deps.finalizers.refusalOf(connection));
  return refusal ?? 'soon';
}

/** Lets `object` go: its upstream is deleted, or left behind, as its policy says. */
async function release(
  deps: UpstreamReconcilerDeps,
  objectState: ObjectState,
  object: GatewayUpstream,
  deletionTimestamp: string,
  signal: AbortSignal,
): Promise<Result> {
  const key = keyOf(object);
  const before = objectState.pendingDeletion;
  if (before?.generation === object.generation && deps.clock.monotonic() < before.notBefore) {
    return await keepRight(deps, objectState, object, before, signal);
  }
  if (!object.finalizers.includes(UPSTREAM_FINALIZER)) return done;
  const letGo = async () => {
    deps.verifier.forget(key);
    await deps.writer.removeFinalizer('GatewayUpstream', object, UPSTREAM_FINALIZER, signal);
    return done;
  };
  const ending = deletionPlanOf(deps, object);
  if (ending.kind === 'nothing') return await letGo();
  if (ending.kind === 'left') {
    if (ending.id !== undefined) retain(deps, object.connection, ending.id);
    orphaned(deps, object, ending.why);
    return await letGo();
  }
  const { id, policy } = ending;
  const state = deps.connectionState(object.connection);
  let failure: OperatorError;
  let isDrifted = false;
  if (state.kind !== 'usable') failure = new GatewayUnavailableError(state.message);
  else if (state.session.state.kind === 'starting') return done;
  else {
    const { session } = state;
    try {
      await session.exclusive(id, async (turn) => {
        // A deletion cannot be repaired: whose the upstream is now counts, not whose it was when it was seen last.
        const known = session.peek(id);
        const observed = await turn.ask(signal);
        isDrifted = known !== undefined && observed !== undefined && known.canonical !== observed.canonical;
        const change = planDeletion(deps, object, ending, observed);
        if (change.kind === 'mark') await turn.addLabels(change.labels, signal);
        else if (change.kind === 'delete') await turn.delete(change.references, signal);
      });
      // An object of the same name has nothing to do with what was changed before.
      session.takeDrift(id);
      if (policy === 'Orphan') orphaned(deps, object, whyOrphan(object));
      return await letGo();
    } catch (error) {
      if (session.closed) return done;
      if (!(error instanceof OperatorError)) throw error;
      failure = error;
    }
  }
  if (policy === 'Orphan') {
    // The way out for whoever has a gateway that will not come back.
    retain(deps, object.connection, id);
    orphaned(deps, object, `${whyOrphan(object)}, and the gateway could not be told: ${failure.message}`);
    return await letGo();
  }
  const followup = await waitToRelease(deps, object, { id, policy, failure, deletionTimestamp }, letGo);
  if (followup.kind !== 'inUse') {
    deps.verifier.forget(key);
    return followup;
  }
  const wait: PendingDeletion = {
    verdict: followup.verdict,
    generation: object.generation,
    notBefore: deps.clock.monotonic() + IN_USE_MIN_MS,
    refused: before?.generation === object.generation ? before.refused : undefined,
    isDrifted,
  };
  objectState.pendingDeletion = wait;
  return await keepRight(deps, objectState, object, wait, signal);
}

/** Whatever refers to the upstream must not be sent to Pods that are gone, however long that takes. */
async function keepRight(
  deps: UpstreamReconcilerDeps,
  objectState: ObjectState,
  object: GatewayUpstream,
  wait: PendingDeletion,
  signal: AbortSignal,
): Promise<Result> {
  await program(deps, objectState, object, signal, wait);
  return { kind: 'backoff', maxMs: IN_USE_MAX_MS };
}

function isRefused(
  { clock }: UpstreamReconcilerDeps,
  { refused }: PendingDeletion,
  canonical: string,
  observed: ObservedUpstream | undefined,
): boolean {
  return (
    refused?.canonical === canonical &&
    refused.observed === observed?.canonical &&
    clock.monotonic() < refused.until
  );
}

function refusal(
  { clock }: UpstreamReconcilerDeps,
  canonical: string,
  observed: ObservedUpstream | undefined,
): RefusedContent {
  return { canonical, observed: observed?.canonical, until: clock.monotonic() + REJECTED_RETRY_MS };
}

/** The deletion could not be carried out: wait, unless the namespace goes too and has waited long enough. */
async function waitToRelease(
  deps: UpstreamReconcilerDeps,
  object: GatewayUpstream,
  wait: {
    readonly id: UpstreamId;
    readonly policy: Extract<DeletionPlan, { kind: 'ends' }>['policy'];
    readonly failure: OperatorError;
    readonly deletionTimestamp: string;
  },
  letGo: () => Promise<Result>,
): Promise<Result | { readonly kind: 'inUse'; readonly verdict: Verdict }> {
  const { failure, id } = wait;
  const timeoutMs = durationMs(object.spec.ok ? object.spec.value.deletionTimeout : DELETION_TIMEOUT);
  const namespaceEnds = deps.namespaces.get('', object.namespace)?.terminating ?? true;
  const leftMs = Date.parse(wait.deletionTimestamp) + timeoutMs - deps.clock.now();
  if (namespaceEnds && leftMs <= 0) {
    orphaned(
      deps,
      object,
      `it could not be deleted within ${object.spec.ok ? object.spec.value.deletionTimeout : DELETION_TIMEOUT}, and will be when that is possible: ${failure.message}`,
    );
    return await letGo();
  }
  const inUse = failure instanceof UpstreamInUseError;
  const programmed: Verdict = {
    status: failure instanceof GatewayUnavailableError ? 'Unknown' : 'False',
    reason: failure.reason,
    message: inUse
      ? `Waiting to be deleted (${failure.message}): remove that reference, or set spec.deletionPolicy to ${wait.policy === 'Force' ? 'Orphan' : 'Orphan or Force'}`
      : `Waiting to be deleted: ${failure.message}`,
  };
  if (inUse) return { kind: 'inUse', verdict: programmed };
  deps.reporter.upstream(object, {
    accepted: buildDesired(deps, object).accepted,
    resolvedRefs: {
      status: 'Unknown',
      reason: 'Pending',
      message: 'Not looked at, since the object is being deleted',
    },
    programmed,
    ready: missingPermission(deps, object) ?? programmed,
    upstreamId: id,
    ...createTimeOf(object, undefined),
  });
  const state = deps.connectionState(object.connection);
  if (state.kind === 'usable' && state.session.state.kind === 'ready') return { kind: 'backoff' };
  // The recovery of the gateway brings the object back; until then only the end of its time can change anything.
  return namespaceEnds ? { kind: 'after', delayMs: Math.max(leftMs, 0) } : done;
}

/** No orphan collection deletes the upstream `id` any more; the status of the connection keeps it over restarts. */
function retain(
  { orphans, bindConnection }: UpstreamReconcilerDeps,
  connection: string,
  id: UpstreamId,
): void {
  orphans.retain(connection, id);
  bindConnection(connection);
}

function whyOrphan({ spec }: GatewayUpstream): string {
  return spec.ok && spec.value.syncPolicy === 'UpsertOnly'
    ? 'syncPolicy is UpsertOnly'
    : 'deletionPolicy is Orphan';
}

function orphaned(deps: UpstreamReconcilerDeps, object: GatewayUpstream, why: string): void {
  const { namespace, name, status } = object;
  const message = `Upstream ${status?.upstreamId ?? name} stays in the gateway: ${why}`;
  deps.log.info({ namespace, name, reason: 'Orphaned' }, message);
  deps.reporter.event(object, { type: 'Normal', reason: 'Orphaned', message });
  // A namespace that ends takes no Events: the connection is told.
  const connection = deps.connections.get('', object.connection);
  if (connection === undefined || deps.namespaces.get('', namespace)?.terminating !== true) return;
  deps.reporter.event(connection, {
    type: 'Normal',
    reason: 'Orphaned',
    message: `Of GatewayUpstream ${namespace}/${name}: ${message}`,
  });
}
