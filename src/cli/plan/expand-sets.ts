import { GROUP, VERSION } from '../../api/group.ts';
import { acceptedUntil } from '../../decide/removal-guard.ts';
import { isUsable, SetMembers, type UsableSet } from '../../decide/set-members.ts';
import { kubeTime, trueSince } from '../../decide/status.ts';
import { upstreamIndexes } from '../../decide/upstream-indexes.ts';
import { judgePruning } from '../../decide/upstream-set.ts';
import { type ObjectKey, splitKey } from '../../model/keys.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import { planStore, type Stores } from './kinds.ts';

/** The resourceVersion of an object that does not exist yet or is changed by a set. */
const PLANNED = 'planned';

/**
 * Applies all GatewayUpstreamSets to `stores`: creates and changes their GatewayUpstreams, and marks those that the sets
 * would delete as being deleted.
 *
 * @param now Wall clock, milliseconds.
 */
export function expandSets(stores: Stores, now: number): Stores {
  if (stores.sets.size === 0) return stores;
  const { upstreams: before } = stores;
  const upstreams = planStore<GatewayUpstream>(upstreamIndexes, [...before.list()], before.state);
  // The Namespaces of the objects may be missing from the files.
  const namespaces = {
    get: (namespace: string, name: string) =>
      stores.namespaces.get(namespace, name) ?? {
        namespace,
        name,
        uid: '',
        resourceVersion: '',
        labels: {},
        terminating: false,
      },
  };
  for (const set of stores.sets.list()) {
    if (set.deletionTimestamp !== undefined || !isUsable(set)) continue;
    const members = new SetMembers({ ...stores, upstreams, namespaces }, set);
    const pruned = prunedKeys(set, members, now);
    for (const key of members.wanted.keys()) {
      const made = writtenMember(set, members, upstreamOf(upstreams, key), key, now);
      if (made !== undefined) upstreams.upsert(made);
    }
    for (const key of pruned) {
      const object = upstreamOf(upstreams, key);
      if (object !== undefined) {
        upstreams.upsert({ ...object, resourceVersion: PLANNED, deletionTimestamp: kubeTime(now) });
      }
    }
  }
  return { ...stores, upstreams };
}

function upstreamOf(upstreams: Stores['upstreams'], key: ObjectKey): GatewayUpstream | undefined {
  const { namespace, name } = splitKey(key);
  return upstreams.get(namespace, name);
}

function prunedKeys(set: UsableSet, members: SetMembers, now: number): readonly ObjectKey[] {
  const { status, acceptPrune, spec } = set;
  const verdict = judgePruning({
    unwanted: members.unexplained,
    recent: 0,
    all: members.owned.size,
    maxPrunePercent: spec.value.maxPrunePercent,
    since: trueSince(status?.conditions, 'PruningHeld'),
    acceptedUntil: acceptedUntil(acceptPrune),
    now,
  });
  return [...members.unwanted].flatMap(([key, { explained }]) =>
    explained || verdict.kind !== 'waits' ? [key] : [],
  );
}

/** The object after the set has written it. Undefined if the set writes nothing. */
function writtenMember(
  set: UsableSet,
  members: SetMembers,
  object: GatewayUpstream | undefined,
  key: ObjectKey,
  now: number,
): GatewayUpstream | undefined {
  const member = members.member(key);
  if (member === undefined) return undefined;
  const { namespace, name, labels, annotations, spec } = member;
  const made = {
    spec: { ok: true, value: spec },
    connection: spec.connectionRef.name,
    madeBy: { set: set.name, uid: set.uid, labels, annotations },
    resourceVersion: PLANNED,
  } as const;
  if (object === undefined) {
    return {
      ...made,
      namespace,
      name,
      uid: `${GROUP}/${VERSION} ${key}`,
      generation: 1,
      creationTimestamp: kubeTime(now),
      deletionTimestamp: undefined,
      finalizers: [],
      status: undefined,
      acceptRemoval: undefined,
    };
  }
  if (!members.owns(object) || object.deletionTimestamp !== undefined) return undefined;
  return members.isApplied(object, member) ? undefined : { ...object, ...made };
}
