import { MAX_PLANNED_CHANGES } from '../../api/gateway-upstream-status.ts';
import { buildDesired, type Evaluated, isWithdrawn } from '../../decide/build-desired.ts';
import type { Change } from '../../decide/change.ts';
import { describeChange, withNodesOf } from '../../decide/diff.ts';
import { upstreamNotFound } from '../../decide/diff-upstream.ts';
import { basisOf } from '../../decide/guarded-desired.ts';
import { lastAnswersOf } from '../../decide/last-answers.ts';
import { type Decision, planChange } from '../../decide/plan-change.ts';
import {
  createTimeOf,
  failedVerdict,
  NOT_RESOLVED,
  NOT_WRITTEN,
  observeVerdict,
  PROGRAMMED,
  refusedOutcome,
  removalHeldVerdict,
  unwrittenVerdict,
  writtenVerdict,
} from '../../decide/programmed.ts';
import { isTakeOver, nodeRepairOf, type Repair, repairOf } from '../../decide/repairs.ts';
import { summarize } from '../../decide/status.ts';
import {
  GatewayAuthError,
  GatewayUnavailableError,
  OperatorError,
  WriteRefusedError,
} from '../../model/errors.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import type { PlanOutcome } from '../../model/outcome.ts';
import type { ObservedUpstream } from '../../model/upstream.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { Result } from '../../runtime/work-queue.ts';
import type { ObjectState } from '../object-state.ts';
import { confirmedBy } from '../session/confirmation.ts';
import type { Lock } from '../session/lock.ts';
import type { GatewaySession } from '../session/session.ts';
import { UNAUTHORIZED_RETRY_MS } from '../session/write-rejection.ts';
import { afterFailure, REJECTED_RETRY_MS, whenGatewayMayHaveChanged } from './after-failure.ts';
import type { UpstreamReconcilerDeps } from './deps.ts';
import { ensureFinalizers } from './ensure-finalizers.ts';
import type { PendingDeletion, RejectedContent } from './pending-deletion.ts';
import { missingPermission, reportMissingPermission } from './permissions.ts';
import { waitForSources } from './wait-for-sources.ts';

const done: Result = { kind: 'done' };

/** Applies `object` to the gateway. This continues while its deletion is `pending`. */
export async function applyUpstream(
  deps: UpstreamReconcilerDeps,
  state: ObjectState,
  object: GatewayUpstream,
  signal: AbortSignal,
  pending?: PendingDeletion,
): Promise<Result> {
  const changedAt = state.endpointChange.take();
  let evaluation = buildDesired(deps, object);
  if (evaluation.kind === 'refused') {
    const outcome = refusedOutcome(object, evaluation.accepted);
    deps.reporter.upstream(object, {
      ...outcome,
      programmed: pending?.verdict ?? outcome.programmed,
      ready: missingPermission(deps, object) ?? pending?.verdict ?? outcome.ready,
    });
    return done;
  }
  state.lastAnswers = lastAnswersOf(evaluation.backends);
  const wait = waitForSources(deps, state, evaluation);
  if (wait !== undefined) {
    // The source completes its list soon, and a status before that would only flap. A missing permission is reported.
    reportMissingPermission(deps, object);
    return wait;
  }
  if (evaluation.desired.action === 'notYet') {
    evaluation = { ...evaluation, desired: { ...evaluation.desired, action: 'wait' } };
  }
  return await new Application({ deps, state, object, pending, changedAt }, evaluation).run(signal);
}

interface Subject {
  readonly deps: UpstreamReconcilerDeps;
  readonly state: ObjectState;
  readonly object: GatewayUpstream;
  readonly pending: PendingDeletion | undefined;
  /** Time of the endpoint change that this write contains (monotonic). */
  readonly changedAt: number | undefined;
}

/** The gateway's content and the decision for it. */
interface Plan extends Decision {
  readonly observed: ObservedUpstream | undefined;
}

/** Applies one evaluated object: read, decide, write, report. */
class Application {
  readonly #subject: Subject;
  readonly #evaluation: Evaluated;
  /** The desired state. After the gateway was read: as limited by the removal guard. */
  #desired: Evaluated['desired'];
  /** The sent content, in case the gateway rejects it. */
  #sent: RejectedContent | undefined;

  constructor(subject: Subject, evaluation: Evaluated) {
    this.#subject = subject;
    this.#evaluation = evaluation;
    this.#desired = evaluation.desired;
  }

  async run(signal: AbortSignal): Promise<Result> {
    const { deps, object } = this.#subject;
    const state = deps.connectionState(object.connection);
    if (state.kind !== 'usable') {
      this.#postpone();
      this.#report({ status: 'Unknown', reason: 'GatewayUnavailable', message: state.message }, undefined);
      return done;
    }
    const { session } = state;
    if (session.state.kind === 'starting') {
      this.#postpone();
      return done;
    }
    try {
      return await session.exclusive(this.#evaluation.id, async (lock) => {
        const plan = await this.#plan(session, lock, signal);
        return this.#settleWithoutWrite(plan) ?? (await this.#execute(session, lock, plan, signal));
      });
    } catch (error) {
      return this.#failed(session, error);
    }
  }

  /** Reads the gateway and decides. */
  async #plan(session: GatewaySession, lock: Lock, signal: AbortSignal): Promise<Plan> {
    const { deps, state, object } = this.#subject;
    const decide = (content: ObservedUpstream | undefined) =>
      planChange(deps, this.#evaluation, object, content, (upstream) => session.canonical(upstream));
    let observed = await lock.read(state.firstSeenAt, signal);
    let decision = decide(observed);
    if (isTakeOver(decision.change)) {
      // Reads again, so that a field that another client added since the last read is not overwritten.
      observed = await lock.readFresh(signal);
      decision = decide(observed);
    }
    this.#desired = decision.desired;
    state.lastAnswers = lastAnswersOf(decision.backends);
    return { ...decision, observed };
  }

  /** Handles plans that need no write: the object is not accepted, only observes, or its deletion is pending. */
  #settleWithoutWrite(plan: Plan): Result | undefined {
    const { deps, state, pending } = this.#subject;
    const { accepted, spec } = this.#evaluation;
    const { change, own, canonical, guard } = plan;
    if (accepted.status !== 'True' && own === undefined) {
      this.#report(NOT_WRITTEN, undefined);
      return done;
    }
    const isObserver = spec.syncPolicy === 'Observe' && !isWithdrawn(this.#evaluation);
    if (isObserver && change.kind !== 'blocked') {
      if (change.kind !== 'none') deps.verifier.forget(state.key);
      const described = describeChange(change, canonical, MAX_PLANNED_CHANGES);
      this.#report(observeVerdict(change, this.#compared(plan)), own, { guard, plan: described });
      return done;
    }
    // During a pending deletion, a missing upstream is not created again, and rejected content is not sent again.
    if (
      pending !== undefined &&
      (change.kind === 'create' || isTakeOver(change) || this.#isRejected(pending, plan))
    ) {
      this.#remember(own, guard);
      this.#report(PROGRAMMED, own, { guard });
      return done;
    }
    return undefined;
  }

  /** Adds the finalizers, then writes. */
  async #execute(session: GatewaySession, lock: Lock, planned: Plan, signal: AbortSignal): Promise<Result> {
    const plan = this.#shared(session, planned);
    const { deps, object, changedAt } = this.#subject;
    const { terms } = this.#evaluation;
    const { change, own, observed, guard } = plan;
    const writes = change.kind === 'create' || change.kind === 'update' || change.kind === 'updateNodes';
    if (own !== undefined || isInSync(plan) || writes) {
      const isUrgent = changedAt !== undefined;
      const pendingFinalizers = ensureFinalizers(deps, object, change, { manage: terms.manage, isUrgent });
      if (pendingFinalizers !== undefined) {
        this.#postpone();
        if (pendingFinalizers !== 'soon') this.#report(pendingFinalizers, undefined);
        return done;
      }
    }
    this.#remember(terms.manage === 'Nodes' && change.kind !== 'blocked' ? observed : own, guard);
    return await this.#write(session, lock, plan, change, signal);
  }

  /** Lets content that is in sync share its parts with the desired state, to save memory. */
  #shared(session: GatewaySession, plan: Plan): Plan {
    if (!isInSync(plan) || plan.own === undefined) return plan;
    const own = session.share(plan.own, plan.desired.upstream);
    return { ...plan, own, observed: own };
  }

  async #write(
    session: GatewaySession,
    lock: Lock,
    plan: Plan,
    change: Change,
    signal: AbortSignal,
  ): Promise<Result> {
    switch (change.kind) {
      case 'none':
        return this.#suppressed(session, plan);
      case 'blocked':
        return this.#blocked(change.programmed);
      case 'updateNodes':
        return await this.#writeNodes(session, lock, plan, change, signal);
      case 'create':
      case 'update':
        return await this.#writeWhole(session, lock, plan, change, signal);
      default:
        return change satisfies never;
    }
  }

  #suppressed(session: GatewaySession, plan: Plan): Result {
    const { deps, object, state } = this.#subject;
    const { own, observed, guard } = plan;
    if (isInSync(plan)) state.removalGuard.matched();
    deps.instruments.suppressed(object.connection);
    this.#report(unwrittenVerdict(this.#compared(plan)), own, { guard });
    if (isInSync(plan) && observed !== undefined) {
      // Another client's change was reverted, or concerns no managed field.
      session.takeDrift(this.#evaluation.id);
      deps.verifier.expect(object, observed, undefined);
    }
    return this.#whenGuardEnds(guard);
  }

  #blocked(programmed: Verdict): Result {
    const { deps, state } = this.#subject;
    this.#report(programmed, undefined);
    deps.verifier.forget(state.key);
    return whenGatewayMayHaveChanged;
  }

  async #writeNodes(
    session: GatewaySession,
    lock: Lock,
    plan: Plan,
    change: Extract<Change, { kind: 'updateNodes' }>,
    signal: AbortSignal,
  ): Promise<Result> {
    const { id, terms } = this.#evaluation;
    const answered = await lock.putNodes(change.desired.nodes, signal);
    const before = session.takeDrift(id);
    if (answered === undefined) {
      return this.#blocked(terms.manage === 'Nodes' ? upstreamNotFound(id) : NOT_WRITTEN);
    }
    this.#announce(nodeRepairOf(id, before?.canonical, change.observed.canonical));
    // Other fields belong to the owner of the upstream, so its changes there are accepted.
    return this.#written(session, plan, answered, withNodesOf(plan.canonical, answered.canonical));
  }

  async #writeWhole(
    session: GatewaySession,
    lock: Lock,
    plan: Plan,
    change: Extract<Change, { kind: 'create' | 'update' }>,
    signal: AbortSignal,
  ): Promise<Result> {
    const { pending } = this.#subject;
    const { canonical, observed } = plan;
    this.#sent = this.#rejection(canonical, observed);
    const answered = await lock.put(change.desired, signal);
    const drifted = session.takeDrift(this.#evaluation.id) !== undefined || pending?.isDrifted === true;
    this.#announce(repairOf(change, canonical, drifted));
    return this.#written(session, plan, answered, canonical);
  }

  /** Handles an accepted write. `wanted` is the canonical form that the gateway should have returned. */
  #written(session: GatewaySession, plan: Plan, given: ObservedUpstream, wanted: string): Result {
    const { deps, state, object, pending, changedAt } = this.#subject;
    const isAsWanted = given.canonical === wanted;
    const answered =
      this.#evaluation.terms.manage === 'Object' && isAsWanted
        ? session.share(given, plan.desired.upstream)
        : given;
    if (changedAt !== undefined) {
      deps.instruments.propagated(object.connection, deps.clock.monotonic() - changedAt);
    }
    state.removalGuard.wrote(plan.desired.upstream.nodes, plan.lost);
    this.#report(writtenVerdict(wanted, answered), answered, { guard: plan.guard });
    deps.verifier.expect(object, answered, { replaced: plan.observed });
    if (pending !== undefined) {
      pending.isDrifted = false;
      pending.rejected = isAsWanted ? undefined : this.#rejection(plan.canonical, answered);
    }
    return isAsWanted ? this.#whenGuardEnds(plan.guard) : whenGatewayMayHaveChanged;
  }

  #failed(session: GatewaySession, error: unknown): Result {
    const { pending } = this.#subject;
    const isRetried = error instanceof GatewayAuthError || error instanceof WriteRefusedError;
    if (error instanceof GatewayUnavailableError || isRetried) this.#postpone();
    if (session.closed) return done;
    if (!(error instanceof OperatorError)) throw error;
    if (pending !== undefined && error.reason === 'Rejected') {
      pending.rejected =
        this.#sent && isRetried
          ? { ...this.#sent, until: this.#subject.deps.clock.monotonic() + UNAUTHORIZED_RETRY_MS }
          : this.#sent;
    }
    this.#report(failedVerdict(error), undefined);
    return afterFailure(error, session.state.kind === 'failing');
  }

  /** Keeps the endpoint change for the next reconcile. */
  #postpone(): void {
    const { state, changedAt } = this.#subject;
    state.endpointChange.restore(changedAt);
  }

  /** `decided` is absent if no decision was made for the gateway's content. */
  #report(
    written: Verdict,
    observed: ObservedUpstream | undefined,
    decided?: { readonly guard: Decision['guard']; readonly plan?: PlanOutcome },
  ): void {
    const { deps, object, pending } = this.#subject;
    const { accepted, id, terms } = this.#evaluation;
    const desired = this.#desired;
    const resolvedRefs: Verdict = accepted.status === 'True' ? desired.resolvedRefs : NOT_RESOLVED;
    const programmed = confirmedBy(deps.connectionState(object.connection), id, written);
    deps.reporter.upstream(object, {
      accepted,
      resolvedRefs,
      programmed: pending?.verdict ?? programmed,
      ready:
        missingPermission(deps, object) ??
        pending?.verdict ??
        deps.finalizers.failureVerdict(object) ??
        summarize([accepted, resolvedRefs, programmed], desired.ready),
      upstreamId: id,
      ...(desired.action === 'wait' ? {} : { endpoints: desired }),
      ...(decided?.plan === undefined ? {} : { plan: decided.plan }),
      ...(decided === undefined
        ? {}
        : {
            removalHeld: decided.guard === undefined ? 'nothing' : removalHeldVerdict(object, decided.guard),
          }),
      // The status must not contain the create time of an upstream that another client owns: it would later count as proof of
      // ownership.
      ...(terms.manage === 'Nodes' ? {} : createTimeOf(object, observed)),
    });
  }

  #announce(repair: Repair | undefined): void {
    if (repair === undefined) return;
    const { deps, object } = this.#subject;
    const { reason, message } = repair;
    deps.log.info({ namespace: object.namespace, name: object.name, reason }, message);
    deps.reporter.event(object, { type: 'Normal', reason, message });
  }

  /** Updates the removal-guard state for the next reconcile. */
  #remember(observed: ObservedUpstream | undefined, guard: Decision['guard']): void {
    const { removalGuard } = this.#subject.state;
    removalGuard.read(basisOf(this.#evaluation), observed?.nodes ?? []);
    removalGuard.guard(guard?.held ?? []);
  }

  /** Reconciles again when the removal guard releases a node. */
  #whenGuardEnds(guard: Decision['guard']): Result {
    if (guard?.until === undefined) return done;
    return { kind: 'after', delayMs: Math.max(0, guard.until - this.#subject.deps.clock.now()) };
  }

  #compared({ observed, canonical }: Plan) {
    return { accepted: this.#evaluation.accepted, desired: this.#desired, observed, canonical };
  }

  #isRejected({ rejected }: PendingDeletion, { canonical, observed }: Plan): boolean {
    return (
      rejected?.canonical === canonical &&
      rejected.observed === observed?.canonical &&
      this.#subject.deps.clock.monotonic() < rejected.until
    );
  }

  #rejection(canonical: string, observed: ObservedUpstream | undefined): RejectedContent {
    const until = this.#subject.deps.clock.monotonic() + REJECTED_RETRY_MS;
    return { canonical, observed: observed?.canonical, until };
  }
}

/** Whether the gateway contains the desired state. */
function isInSync({ change, observed, canonical }: Plan): boolean {
  return change.kind === 'none' && observed?.canonical === canonical;
}
