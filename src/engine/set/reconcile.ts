import { MAX_SET_PROBLEMS } from '../../api/gateway-upstream-set.ts';
import { acceptedUntil } from '../../decide/removal-guard.ts';
import { isUsable, SetMembers, type SetSnapshot, type UsableSet } from '../../decide/set-members.ts';
import {
  pruningHeldVerdict,
  type SetProgress,
  setProblems,
  setReadyVerdict,
  unusableSetVerdict,
} from '../../decide/set-verdicts.ts';
import { missingVerdict, trueSince } from '../../decide/status.ts';
import { judgePruning, type PruneVerdict } from '../../decide/upstream-set.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import type { MemberWriter } from '../../kube/member-writer.ts';
import type { MissingPermissions } from '../../kube/permissions.ts';
import { keyOf, type ObjectKey, splitKey } from '../../model/keys.ts';
import type { GatewayUpstream, GatewayUpstreamSet, NamespaceStored } from '../../model/objects.ts';
import type { Stored, StoreEvent, StoreView } from '../../model/store-view.ts';
import type { Clock } from '../../runtime/clock.ts';
import { PRIORITY, type Priority } from '../../runtime/lane.ts';
import type { Result } from '../../runtime/work-queue.ts';
import { concernsMember, concernsNamespace, concernsSelection, concernsSet } from '../predicates.ts';
import type { Reporter } from '../status/reporter.ts';

export interface UpstreamSetsDeps extends SetSnapshot {
  readonly sets: StoreView<GatewayUpstreamSet>;
  readonly namespaces: StoreView<NamespaceStored>;
  readonly permissions: MissingPermissions;
  readonly memberWriter: MemberWriter;
  readonly reporter: Reporter;
  readonly clock: Clock;
  /** Schedules `reconcile`. */
  readonly enqueueSet: (name: string) => void;
  /** Schedules `reconcileMember`. */
  readonly enqueueMember: (set: string, key: ObjectKey, priority: Priority) => void;
  /** The set was deleted or is unusable: it has no members to reconcile. */
  readonly onUnused: (set: string) => void;
}

/** The engine's state of one set. */
interface SetState extends SetProgress {
  readonly set: UsableSet;
  readonly unsettled: Set<ObjectKey>;
  readonly taken: Set<ObjectKey>;
  readonly refused: Map<ObjectKey, string>;
  /** Since when pruning is postponed (wall clock). */
  postponedSince: number | undefined;
  /** Times at which GatewayUpstreams of existing Services were deleted (monotonic). */
  pruned: readonly number[];
}

/** Deletions within this time count as one. */
const PRUNED_TOGETHER_MS = 60_000;
/** Retry delay for an object that the API server rejected: a webhook may have changed meanwhile. */
const REJECTED_RETRY_MS = 600_000;

const done: Result = { kind: 'done' };

/**
 * Creates, updates and deletes the GatewayUpstreams of sets. It starts when the lists of sets, Services, namespaces and
 * GatewayUpstreams are complete. Afterwards, a change of a Service reconciles only its own GatewayUpstreams, with one request
 * each.
 */
export class UpstreamSets {
  readonly #deps: UpstreamSetsDeps;
  readonly #states = new Map<string, SetState>();
  #started = false;

  constructor(deps: UpstreamSetsDeps) {
    this.#deps = deps;
  }

  /** Watches everything that determines the GatewayUpstreams of sets, until the result is disposed. */
  listen(): Disposable {
    const { sets, services, namespaces, upstreams, permissions } = this.#deps;
    const listeners = new DisposableStack();
    for (const store of [sets, services, namespaces, upstreams]) {
      listeners.use(store.onState(() => this.#startIfListed()));
    }
    listeners.use(sets.onChange((event) => this.#onSet(event)));
    listeners.use(
      services.onChange((event) => {
        const service = event.current ?? event.previous;
        if (service === undefined || !concernsSelection(event)) return;
        this.#eachSet((members) => members.selectService(service.namespace, service.name));
      }),
    );
    listeners.use(namespaces.onChange((event) => this.#onNamespace(event)));
    listeners.use(upstreams.onChange((event) => this.#onUpstream(event)));
    listeners.use(
      permissions.onChange(() => {
        for (const name of this.#states.keys()) this.#deps.enqueueSet(name);
      }),
    );
    this.#startIfListed();
    return listeners;
  }

  /** Reports the status of a set. */
  reconcile(name: string): Result {
    const { sets, reporter, permissions } = this.#deps;
    const set = sets.get('', name);
    if (set === undefined) {
      reporter.forget('GatewayUpstreamSet', `/${name}`);
      return done;
    }
    if (!this.#started || set.deletionTimestamp !== undefined) return done;
    const missing = missingVerdict(permissions.lacking('GatewayUpstreamSet', ''));
    const state = this.#states.get(name);
    if (state === undefined) {
      reporter.set(set, { ready: missing ?? unusableSetVerdict(set), pruningHeld: undefined });
      return done;
    }
    const { members } = state;
    const problems = setProblems(state);
    const pruning = this.#judge(set, state);
    reporter.set(set, {
      ready: missing ?? setReadyVerdict(state),
      pruningHeld: pruning.kind === 'waits' ? pruningHeldVerdict(set, pruning.since) : undefined,
      counts: {
        services: members.services,
        ports: members.wanted.size,
        upstreams: members.owned.size,
        waiting: pruning.kind === 'waits' ? members.unexplained : 0,
        problems: problems.slice(0, MAX_SET_PROBLEMS),
        moreProblems: Math.max(0, problems.length - MAX_SET_PROBLEMS),
      },
    });
    return done;
  }

  /** Creates, updates or deletes one GatewayUpstream of a set. */
  async reconcileMember(name: string, key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const state = this.#states.get(name);
    if (state === undefined) return done;
    try {
      return await this.#settle(state, key, signal);
    } finally {
      this.#deps.enqueueSet(name);
    }
  }

  async #settle(state: SetState, key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { set, members, unsettled, taken, refused } = state;
    const { namespace, name } = splitKey(key);
    const object = this.#deps.upstreams.get(namespace, name);
    const member = members.member(key);
    taken.delete(key);
    refused.delete(key);
    if (member === undefined) {
      unsettled.delete(key);
      const unwanted = members.unwanted.get(key);
      if (object !== undefined && unwanted !== undefined) await this.#prune(state, object, unwanted, signal);
      return done;
    }
    if (object !== undefined && !members.owns(object)) {
      taken.add(key);
      unsettled.delete(key);
      return done;
    }
    unsettled.add(key);
    // An object that is being deleted is created again after its deletion.
    if (object?.deletionTimestamp !== undefined) return done;
    if (object !== undefined && members.isApplied(object, member)) {
      unsettled.delete(key);
      return done;
    }
    try {
      await this.#deps.memberWriter.apply(set, member, object, signal);
    } catch (error) {
      if (!(error instanceof KubeApiError)) throw error;
      // Conflict: another client created, deleted or replaced the object meanwhile. A watch event follows.
      if (error.status === 409) return { kind: 'backoff' };
      if (error.status !== 422 && error.status !== 400) throw error;
      unsettled.delete(key);
      refused.set(key, error.message);
      return { kind: 'after', delayMs: REJECTED_RETRY_MS };
    }
    return done;
  }

  async #prune(
    state: SetState,
    object: GatewayUpstream,
    { explained }: { readonly explained: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { sets, namespaces, memberWriter, clock } = this.#deps;
    const { set, members } = state;
    // The deletion of a namespace deletes its objects.
    if (namespaces.get('', object.namespace)?.terminating !== false) return;
    if (members.isServiceUnreadable(keyOf(object))) return;
    const verdict = this.#judge(sets.get('', set.name) ?? set, state);
    if (!explained && verdict.kind === 'waits') return;
    await memberWriter.remove(object, signal);
    // An accepted deletion does not count against the limit.
    if (!explained && verdict.kind === 'free') state.pruned = [...state.pruned, clock.monotonic()];
  }

  #judge(set: GatewayUpstreamSet, state: SetState): PruneVerdict {
    const { clock } = this.#deps;
    const oldest = clock.monotonic() - PRUNED_TOGETHER_MS;
    state.pruned = state.pruned.filter((at) => at >= oldest);
    const verdict = judgePruning({
      unwanted: state.members.unexplained,
      recent: state.pruned.length,
      all: state.members.owned.size,
      maxPrunePercent: state.set.spec.value.maxPrunePercent,
      since: state.postponedSince,
      acceptedUntil: acceptedUntil(set.acceptPrune),
      now: clock.now(),
    });
    state.postponedSince = verdict.kind === 'free' ? undefined : verdict.since;
    return verdict;
  }

  #startIfListed(): void {
    const { sets, services, namespaces, upstreams } = this.#deps;
    const stores: readonly StoreView<Stored>[] = [sets, services, namespaces, upstreams];
    if (this.#started || !stores.every((store) => store.state.state === 'synced')) return;
    this.#started = true;
    for (const set of sets.list()) this.#update(set.name, set);
  }

  #onSet(event: StoreEvent<GatewayUpstreamSet>): void {
    const { current } = event;
    const set = current ?? event.previous;
    if (current !== undefined) this.#deps.reporter.seen('GatewayUpstreamSet', current);
    if (!this.#started || set === undefined || !concernsSet(event)) return;
    this.#update(set.name, event.current);
  }

  #onNamespace(event: StoreEvent<NamespaceStored>): void {
    const namespace = event.current ?? event.previous;
    if (namespace === undefined || !concernsNamespace(event)) return;
    this.#eachSet((members) => members.selectNamespace(namespace.name));
  }

  #onUpstream(event: StoreEvent<GatewayUpstream>): void {
    const object = event.current ?? event.previous;
    if (object === undefined || !concernsMember(event)) return;
    const key = keyOf(object);
    const made = new Set([event.previous?.madeBy?.set, event.current?.madeBy?.set]);
    for (const [name, { members }] of this.#states) {
      if (!made.has(name) && !members.wanted.has(key)) continue;
      members.noteMember(key);
      this.#deps.enqueueMember(name, key, PRIORITY.spec);
    }
  }

  /** Reconciles, in every set, the members that a change concerns. */
  #eachSet(select: (members: SetMembers) => readonly ObjectKey[]): void {
    for (const [name, state] of this.#states) {
      for (const key of select(state.members)) this.#enqueueMember(name, state, key, PRIORITY.spec);
      this.#deps.enqueueSet(name);
    }
  }

  /** Updates the state of a set after the set changed. */
  #update(name: string, set: GatewayUpstreamSet | undefined): void {
    this.#deps.enqueueSet(name);
    const before = this.#states.get(name);
    if (set === undefined || set.deletionTimestamp !== undefined || !isUsable(set)) {
      // Garbage collection deletes the GatewayUpstreams of a deleted set.
      this.#states.delete(name);
      this.#deps.onUnused(name);
      return;
    }
    const state: SetState = {
      set,
      members: new SetMembers(this.#deps, set),
      unsettled: new Set(),
      taken: new Set(),
      refused: new Map(),
      postponedSince:
        before === undefined ? trueSince(set.status?.conditions, 'PruningHeld') : before.postponedSince,
      pruned: before?.pruned ?? [],
    };
    this.#states.set(name, state);
    for (const key of new Set([...state.members.wanted.keys(), ...state.members.owned])) {
      this.#enqueueMember(name, state, key, PRIORITY.resync);
    }
  }

  #enqueueMember(name: string, state: SetState, key: ObjectKey, priority: Priority): void {
    if (state.members.wanted.has(key)) state.unsettled.add(key);
    else state.unsettled.delete(key);
    this.#deps.enqueueMember(name, key, priority);
  }
}
