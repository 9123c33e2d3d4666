import type { UpstreamNode } from '../model/upstream.ts';

/**
 * Why a node in the gateway is no longer desired.
 * - `explained`: the cluster shows a cause, so the node is removed at once.
 * - `sick`: its endpoint is listed, but is neither ready nor terminating.
 * - `vanished`: its endpoint is no longer listed and was never seen terminating.
 */
export type RemovalReason = 'explained' | HoldReason;

/** Why a node may be kept. */
export type HoldReason = 'sick' | 'vanished';

export interface GuardPolicy {
  /** 0 to 100; 100 disables the guard. */
  readonly maxRemovalPercent: number;
  /** How long sick nodes are kept, in milliseconds. */
  readonly holdForMs: number;
  /** Whether sick nodes are removed (`Clear`) or kept (`Hold`) after that. */
  readonly whenExpired: 'Clear' | 'Hold';
}

/** Why a node is removed, and from which backend: its index, or undefined if that is not known. */
export interface NodeRemoval {
  readonly reason: RemovalReason;
  readonly backend: number | undefined;
}

/** Since when the guard keeps a node. Wall clock; a future time (the clock was set back) counts as now. */
export interface KeptSince {
  readonly since: number;
  /** Since when the reasons to keep it apply. A time that has not begun is infinite. */
  readonly begun: Readonly<Partial<Record<HoldReason, number>>>;
}

/** A recently removed node without a known cause. */
export interface LostNode {
  /** `placeOf` of the node. */
  readonly place: string;
  readonly backend: number | undefined;
}

/** A backend of positive weight. */
export interface GuardedBackend {
  readonly index: number;
  /** Places of its nodes in `desired` with positive weight. */
  readonly places: ReadonlySet<string>;
}

export interface GuardInput {
  readonly policy: GuardPolicy;
  /** The nodes in the gateway. */
  readonly observed: readonly UpstreamNode[];
  /** The nodes that match the cluster as observed. */
  readonly desired: readonly UpstreamNode[];
  /** The backends that are counted separately. */
  readonly backends: readonly GuardedBackend[];
  /** They count as removed now, so that Pods that fail one after another also trigger the guard. */
  readonly lost: readonly LostNode[];
  /** Called only for nodes that would be removed. */
  readonly removalOf: (node: UpstreamNode) => NodeRemoval;
  /** How long vanished nodes of a backend are kept, in milliseconds. */
  readonly vanishedHoldMs: (backend: number | undefined) => number;
  /** Whether the source of a backend has no current answer. Nothing that the guard keeps of such a backend is removed. */
  readonly isUnknown: (backend: number | undefined) => boolean;
  /**
   * Whether what vanished at once from a backend returns one after the other: instances register again by themselves. The
   * last ones are kept for the same time as the first ones.
   */
  readonly returnsGradually: (backend: number | undefined) => boolean;
  /** Since when the guard keeps the node of a removal; undefined if it does not. */
  readonly keptBefore: (removal: Removal) => KeptSince | undefined;
  /** The accepted time, wall clock: a removal that began up to then is accepted. */
  readonly acceptedUntil: number | undefined;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

/** A node in the gateway that is no longer desired. */
export interface Removal extends NodeRemoval {
  readonly node: UpstreamNode;
}

/** A node that the guard keeps. */
export interface HeldNode extends Removal, KeptSince {
  /** When the node may be removed, wall clock; infinite if that requires acceptance, or an answer of its source. */
  readonly until: number;
}

export interface GuardVerdict {
  readonly held: readonly HeldNode[];
  /** Nodes that are removed without a known cause. */
  readonly lost: readonly Removal[];
}

/** A restored API server, or a controller that recreates its Pods, lists the endpoints again within this time. */
export const VANISHED_HOLD_MS = 30_000;

const NOTHING_HELD: GuardVerdict = { held: [], lost: [] };

/**
 * The nodes to keep although their endpoints are unavailable. The guard acts if the upstream, or one of its backends, would
 * lose all of its nodes or more than `maxRemovalPercent` of them. Only nodes with positive weight count. A rolling update
 * does not trigger it, because new nodes replace the old ones.
 */
export function guardRemoval(input: GuardInput): GuardVerdict {
  const { policy, removalOf } = input;
  if (policy.maxRemovalPercent >= 100) return NOTHING_HELD;
  const observed = input.observed.filter(carriesWeight);
  const wanted = new Set(input.desired.map(placeOf));
  const gone = observed
    .filter((node) => !wanted.has(placeOf(node)))
    .map((node) => ({ ...removalOf(node), node }));
  const isGuarded = guardedRemovals(input, observed, wanted, gone);
  const held: HeldNode[] = [];
  const few: Removal[] = [];
  const expired: Removal[] = [];
  for (const removal of gone) {
    const { reason } = removal;
    if (reason === 'explained') continue;
    const before = input.keptBefore(removal);
    const isOutlasting =
      input.isUnknown(removal.backend) || (reason === 'vanished' && input.returnsGradually(removal.backend));
    const isKept = before !== undefined && isOutlasting;
    if (!isGuarded(removal) && !isKept) few.push(removal);
    else {
      const kept = holdOf(input, { ...removal, reason }, before);
      if (kept === 'expired') expired.push(removal);
      else if (kept !== 'accepted') held.push(kept);
    }
  }
  // Otherwise the first nodes to expire would leave the others below the limit, before their time.
  return { held, lost: held.length === 0 ? few : [...few, ...expired] };
}

/** Selects the removals that are too many at once: in the whole upstream, or in their backend. */
function guardedRemovals(
  input: GuardInput,
  observed: readonly UpstreamNode[],
  wanted: ReadonlySet<string>,
  gone: readonly Removal[],
): (removal: Removal) => boolean {
  const { policy } = input;
  const places = new Set(observed.map(placeOf));
  const before = input.lost.filter(({ place }) => !wanted.has(place) && !places.has(place));
  const desired = input.desired.filter(carriesWeight).length;
  if (isTooMuch(observed.length + before.length, desired, policy)) return () => true;
  const backends = input.backends.filter(({ index, places: listed }) => {
    // A node of an unknown backend may come from any of them.
    const ofBackend = ({ backend = index }: { readonly backend: number | undefined }) => backend === index;
    const removed = gone.filter(ofBackend).length + before.filter(ofBackend).length;
    const stay = [...listed].filter((place) => places.has(place)).length;
    return removed > 0 && isTooMuch(stay + removed, listed.size, policy);
  });
  const guarded = new Set(backends.map(({ index }) => index));
  return ({ backend }) => (backend === undefined ? guarded.size > 0 : guarded.has(backend));
}

/**
 * How the guard keeps a removed node; or why it no longer keeps it. Each reason has its own time, so an instance that was sick
 * before it vanished is kept for as long as one that vanished at once. The times begin again when an unknown source answers.
 */
function holdOf(
  input: GuardInput,
  removal: Removal & { readonly reason: HoldReason },
  before: KeptSince | undefined,
): HeldNode | 'accepted' | 'expired' {
  const { acceptedUntil: accepted, now } = input;
  const since = Math.min(before?.since ?? now, now);
  if (accepted !== undefined && since <= accepted) return 'accepted';
  const isUnknown = input.isUnknown(removal.backend);
  const times = HOLD_REASONS.flatMap((reason) => {
    const at = before?.begun[reason] ?? (reason === removal.reason ? now : undefined);
    return at === undefined ? [] : [{ reason, at: isUnknown ? Number.POSITIVE_INFINITY : Math.min(at, now) }];
  });
  const until = Math.max(...times.map(({ reason, at }) => at + holdMs(input, reason, removal.backend)));
  if (until <= now) return 'expired';
  return { ...removal, since, until, begun: Object.fromEntries(times.map(({ reason, at }) => [reason, at])) };
}

const HOLD_REASONS: readonly HoldReason[] = ['sick', 'vanished'];

/** How long the guard keeps a node, in milliseconds; infinite if its removal requires acceptance. */
function holdMs({ policy, vanishedHoldMs }: GuardInput, reason: HoldReason, backend: number | undefined) {
  if (reason === 'vanished') return vanishedHoldMs(backend);
  return policy.whenExpired === 'Hold' ? Number.POSITIVE_INFINITY : policy.holdForMs;
}

function carriesWeight({ weight }: UpstreamNode): boolean {
  return weight > 0;
}

function isTooMuch(observed: number, desired: number, { maxRemovalPercent }: GuardPolicy): boolean {
  if (observed === 0) return false;
  return desired === 0 || (observed - desired) * 100 > observed * maxRemovalPercent;
}

/** `host port`, the identity of a node. */
export function placeOf({ host, port }: Pick<UpstreamNode, 'host' | 'port'>): string {
  return `${host} ${port}`;
}

/** The time in an accept annotation, wall clock; undefined if it is absent or not a valid time. */
export function acceptedUntil(accepted: string | undefined): number | undefined {
  const at = accepted === undefined ? Number.NaN : Date.parse(accepted);
  // The time in the condition's command has whole seconds.
  return Number.isNaN(at) ? undefined : at + 999;
}

/** A note for a message if the annotation is not a valid time; otherwise empty. */
export function invalidTimeNote(accepted: string | undefined): string {
  const isTime = accepted === undefined || acceptedUntil(accepted) !== undefined;
  return isTime ? '' : ` (the current value of the annotation is not a valid time: ${accepted})`;
}
