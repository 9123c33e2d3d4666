import { MAX_SET_PROBLEMS } from '../../api/gateway-upstream-set.ts';
import { ACCEPT_PRUNE_ANNOTATION } from '../../api/group.ts';
import { patternProblem } from '../../decide/access.ts';
import { acceptedUntil, noTimeNote } from '../../decide/removal-guard.ts';
import { isUsable, SetMembers, type SetSnapshot, type UsableSet } from '../../decide/set-members.ts';
import { kubeTime, missingVerdict, trueSince } from '../../decide/status.ts';
import { judgePruning, type PruneVerdict, type SetProblem } from '../../decide/upstream-set.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import type { MemberWriter } from '../../kube/member-writer.ts';
import type { MissingPermissions } from '../../kube/permissions.ts';
import { keyOf, type ObjectKey, splitKey } from '../../model/keys.ts';
import type { GatewayUpstream, GatewayUpstreamSet, NamespaceStored } from '../../model/objects.ts';
import type { Stored, StoreEvent, StoreView } from '../../model/store-view.ts';
import type { Verdict } from '../../model/verdict.ts';
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
  /** Asks for a run of `reconcile`. */
  readonly enqueueSet: (name: string) => void;
  /** Asks for a run of `reconcileMember`. */
  readonly enqueueMember: (set: string, key: ObjectKey, priority: Priority) => void;
  /** The set has no members to run any more. */
  readonly onGone: (set: string) => void;
}

/** What is kept of a set beside its members. */
interface Entry {
  readonly set: UsableSet;
  readonly members: SetMembers;
  /** Members that are not known yet to be as the set wants them. */
  readonly unsettled: Set<ObjectKey>;
  /** Members of whose name there is somebody else's GatewayUpstream. */
  readonly taken: Set<ObjectKey>;
  /** Members that the API server refuses, with its words. */
  readonly refused: Map<ObjectKey, string>;
  /** Since when pruning waits, wall clock. */
  heldSince: number | undefined;
  /** When something was deleted whose Service is there, monotonic. */
  pruned: readonly number[];
}

/** What goes within this time counts as if it went at once. */
const PRUNED_TOGETHER_MS = 60_000;
/** Before a refused object is tried again although nothing changed: a webhook may have. */
const REFUSED_RETRY_MS = 600_000;

const done: Result = { kind: 'done' };

/**
 * Keeps the GatewayUpstreams of sets. Nothing is done before sets, Services, namespaces and GatewayUpstreams were listed
 * in full. After that a change of a Service asks for its own GatewayUpstreams alone, one request each.
 */
export class UpstreamSets {
  readonly #deps: UpstreamSetsDeps;
  readonly #entries = new Map<string, Entry>();
  #begun = false;

  constructor(deps: UpstreamSetsDeps) {
    this.#deps = deps;
  }

  /** Follows everything that decides which GatewayUpstreams there should be, until it is disposed of. */
  listen(): Disposable {
    const { sets, services, namespaces, upstreams, permissions } = this.#deps;
    const listeners = new DisposableStack();
    for (const store of [sets, services, namespaces, upstreams]) {
      listeners.use(store.onState(() => this.#begin()));
    }
    listeners.use(sets.onChange((event) => this.#onSet(event)));
    listeners.use(
      services.onChange((event) => {
        const service = event.current ?? event.previous;
        if (service === undefined || !concernsSelection(event)) return;
        this.#eachEntry((members) => members.selectService(service.namespace, service.name));
      }),
    );
    listeners.use(namespaces.onChange((event) => this.#onNamespace(event)));
    listeners.use(upstreams.onChange((event) => this.#onUpstream(event)));
    listeners.use(
      permissions.onChange(() => {
        for (const name of this.#entries.keys()) this.#deps.enqueueSet(name);
      }),
    );
    this.#begin();
    return listeners;
  }

  /** Says in the status of a set how it is. */
  reconcile(name: string): Result {
    const { sets, reporter, permissions } = this.#deps;
    const set = sets.get('', name);
    if (set === undefined) {
      reporter.forget('GatewayUpstreamSet', `/${name}`);
      return done;
    }
    if (!this.#begun || set.deletionTimestamp !== undefined) return done;
    const missing = missingVerdict(permissions.lacking('GatewayUpstreamSet', ''));
    const entry = this.#entries.get(name);
    if (entry === undefined) {
      reporter.set(set, { ready: missing ?? unusable(set), pruningHeld: undefined });
      return done;
    }
    const { members, taken, refused } = entry;
    const problems = [
      ...members.problems(),
      ...[...taken].map((key) => problemOf(members, key, 'NameTaken')),
      ...[...refused.keys()].map((key) => problemOf(members, key, 'MemberRefused')),
    ].toSorted(inOrder);
    const pruning = this.#judge(set, entry);
    reporter.set(set, {
      ready: missing ?? readyVerdict(entry),
      pruningHeld: pruning.kind === 'waits' ? heldVerdict(set, pruning.since) : undefined,
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

  /** Makes, changes or deletes one GatewayUpstream of a set. */
  async reconcileMember(name: string, key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const entry = this.#entries.get(name);
    if (entry === undefined) return done;
    try {
      return await this.#settle(entry, key, signal);
    } finally {
      this.#deps.enqueueSet(name);
    }
  }

  async #settle(entry: Entry, key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { set, members, unsettled, taken, refused } = entry;
    const { namespace, name } = splitKey(key);
    const object = this.#deps.upstreams.get(namespace, name);
    const member = members.member(key);
    taken.delete(key);
    refused.delete(key);
    if (member === undefined) {
      unsettled.delete(key);
      const unwanted = members.unwanted.get(key);
      if (object !== undefined && unwanted !== undefined) await this.#prune(entry, object, unwanted, signal);
      return done;
    }
    if (object !== undefined && !members.owns(object)) {
      taken.add(key);
      unsettled.delete(key);
      return done;
    }
    unsettled.add(key);
    // One that is being deleted is made anew when it is gone.
    if (object?.deletionTimestamp !== undefined) return done;
    if (object !== undefined && members.isApplied(object, member)) {
      unsettled.delete(key);
      return done;
    }
    try {
      await this.#deps.memberWriter.apply(set, member, object, signal);
    } catch (error) {
      if (!(error instanceof KubeApiError)) throw error;
      // Somebody made, deleted or replaced it meanwhile: the watch says more in a moment.
      if (error.status === 409) return { kind: 'backoff' };
      if (error.status !== 422 && error.status !== 400) throw error;
      unsettled.delete(key);
      refused.set(key, error.message);
      return { kind: 'after', delayMs: REFUSED_RETRY_MS };
    }
    return done;
  }

  async #prune(
    entry: Entry,
    object: GatewayUpstream,
    { explained }: { readonly explained: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { sets, namespaces, memberWriter, clock } = this.#deps;
    const { set, members } = entry;
    // Who deletes the namespace deletes what is in it.
    if (namespaces.get('', object.namespace)?.terminating !== false) return;
    if (members.isServiceUnreadable(keyOf(object))) return;
    const verdict = this.#judge(sets.get('', set.name) ?? set, entry);
    if (!explained && verdict.kind === 'waits') return;
    await memberWriter.remove(object, signal);
    // What somebody accepted is no sign of a mistake.
    if (!explained && verdict.kind === 'free') entry.pruned = [...entry.pruned, clock.monotonic()];
  }

  #judge(set: GatewayUpstreamSet, entry: Entry): PruneVerdict {
    const { clock } = this.#deps;
    const oldest = clock.monotonic() - PRUNED_TOGETHER_MS;
    entry.pruned = entry.pruned.filter((at) => at >= oldest);
    const verdict = judgePruning({
      unwanted: entry.members.unexplained,
      recent: entry.pruned.length,
      all: entry.members.owned.size,
      maxPrunePercent: entry.set.spec.value.maxPrunePercent,
      since: entry.heldSince,
      acceptedUntil: acceptedUntil(set.acceptPrune),
      now: clock.now(),
    });
    entry.heldSince = verdict.kind === 'free' ? undefined : verdict.since;
    return verdict;
  }

  #begin(): void {
    const { sets, services, namespaces, upstreams } = this.#deps;
    const stores: readonly StoreView<Stored>[] = [sets, services, namespaces, upstreams];
    if (this.#begun || !stores.every((store) => store.state.state === 'synced')) return;
    this.#begun = true;
    for (const set of sets.list()) this.#update(set.name, set);
  }

  #onSet(event: StoreEvent<GatewayUpstreamSet>): void {
    const set = event.current ?? event.previous;
    if (!this.#begun || set === undefined || !concernsSet(event)) return;
    this.#update(set.name, event.current);
  }

  #onNamespace(event: StoreEvent<NamespaceStored>): void {
    const namespace = event.current ?? event.previous;
    if (namespace === undefined || !concernsNamespace(event)) return;
    this.#eachEntry((members) => members.selectNamespace(namespace.name));
  }

  #onUpstream(event: StoreEvent<GatewayUpstream>): void {
    const object = event.current ?? event.previous;
    if (object === undefined || !concernsMember(event)) return;
    const key = keyOf(object);
    const made = new Set([event.previous?.madeBy?.set, event.current?.madeBy?.set]);
    for (const [name, { members }] of this.#entries) {
      if (!made.has(name) && !members.wanted.has(key)) continue;
      members.noteMember(key);
      this.#deps.enqueueMember(name, key, PRIORITY.spec);
    }
  }

  /** Looks again at what a change concerns, in every set. */
  #eachEntry(look: (members: SetMembers) => readonly ObjectKey[]): void {
    for (const [name, entry] of this.#entries) {
      for (const key of look(entry.members)) this.#enqueueMember(name, entry, key, PRIORITY.spec);
      this.#deps.enqueueSet(name);
    }
  }

  /** Keeps what is known of a set in step with it. */
  #update(name: string, set: GatewayUpstreamSet | undefined): void {
    this.#deps.enqueueSet(name);
    const before = this.#entries.get(name);
    if (set === undefined || set.deletionTimestamp !== undefined || !isUsable(set)) {
      // Kubernetes deletes what a set made after it.
      this.#entries.delete(name);
      this.#deps.onGone(name);
      return;
    }
    const entry: Entry = {
      set,
      members: new SetMembers(this.#deps, set),
      unsettled: new Set(),
      taken: new Set(),
      refused: new Map(),
      heldSince: before === undefined ? trueSince(set.status?.conditions, 'PruningHeld') : before.heldSince,
      pruned: before?.pruned ?? [],
    };
    this.#entries.set(name, entry);
    for (const key of new Set([...entry.members.wanted.keys(), ...entry.members.owned])) {
      this.#enqueueMember(name, entry, key, PRIORITY.resync);
    }
  }

  #enqueueMember(name: string, entry: Entry, key: ObjectKey, priority: Priority): void {
    if (entry.members.wanted.has(key)) entry.unsettled.add(key);
    else entry.unsettled.delete(key);
    this.#deps.enqueueMember(name, key, priority);
  }
}

function unusable({ name, spec }: GatewayUpstreamSet): Verdict {
  const why = spec.ok
    ? `spec.namespaceSelector: ${patternProblem(spec.value.namespaceSelector)}`
    : spec.message;
  return {
    status: 'False',
    reason: 'InvalidSpec',
    message: `GatewayUpstreamSet ${name} is not valid, and its GatewayUpstreams stay as they are: ${why}`,
  };
}

function readyVerdict({ members, unsettled, taken, refused }: Entry): Verdict {
  const [refusedFirst] = [...refused].toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (refusedFirst !== undefined) {
    const [key, words] = refusedFirst;
    return {
      status: 'False',
      reason: 'MemberRefused',
      message: `The API server refuses GatewayUpstream ${key}${andOthers(refused.size)}: ${words}: correct spec.template`,
    };
  }
  const [takenFirst] = [...taken].toSorted();
  if (takenFirst !== undefined) {
    return {
      status: 'False',
      reason: 'NameTaken',
      message: `There is a GatewayUpstream ${takenFirst}${andOthers(taken.size)} that is not of this set: delete it, or hand it over by the label gatewayupstream.dev/set`,
    };
  }
  const missing = [...unsettled].some((key) => members.wanted.has(key));
  return missing
    ? { status: 'Unknown', reason: 'Pending', message: 'GatewayUpstreams are being made or changed' }
    : {
        status: 'True',
        reason: 'Ready',
        message: 'There is a GatewayUpstream for every port of every Service that matches',
      };
}

function andOthers(size: number): string {
  return size === 1 ? '' : ' and others';
}

/** What PruningHeld says. */
function heldVerdict({ name, acceptPrune, spec }: GatewayUpstreamSet, since: number): Verdict {
  const percent = spec.ok ? spec.value.maxPrunePercent : 0;
  const word = `kubectl annotate --overwrite gwus/${name} ${ACCEPT_PRUNE_ANNOTATION}=${kubeTime(since)}`;
  return {
    status: 'True',
    reason: 'PruningHeld',
    message: `More than ${percent} % of the GatewayUpstreams would be deleted at once though their Services are there, so none of these is. Look at the selectors, at spec.ports and at the labels of the Services. To let them go: ${word}${noTimeNote(acceptPrune)}`,
  };
}

function problemOf(members: SetMembers, key: ObjectKey, reason: SetProblem['reason']): SetProblem {
  const port = members.wanted.get(key);
  if (port === undefined) return { service: key, reason };
  return { service: `${port.namespace}/${port.service}`, port: port.label, reason };
}

function inOrder(a: SetProblem, b: SetProblem): number {
  const [first, second] = [a, b].map(({ service, port = '', reason }) => `${service} ${port} ${reason}`);
  return (first ?? '') < (second ?? '') ? -1 : 1;
}
