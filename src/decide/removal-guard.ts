import type { UpstreamNode } from '../model/upstream.ts';

/**
 * Why a node in the gateway is no longer desired.
 * - `explained`: the cluster shows a cause, so the node is removed at once.
 * - `sick`: its endpoint is listed, but is neither ready nor terminating.
 * - `vanished`: its endpoint is no longer listed and was never seen terminating.
 */
export type RemovalReason = 'explained' | 'sick' | 'vanished';

export interface GuardPolicy {
  /** 0 to 100; 100 disables the guard. */
  readonly maxRemovalPercent: number;
  /** How long sick nodes are kept, in milliseconds. */
  readonly holdForMs: number;
  /** Whether sick nodes are removed (`Clear`) or kept (`Hold`) after that. */
  readonly whenExpired: 'Clear' | 'Hold';
}

export interface GuardInput {
  readonly policy: GuardPolicy;
  /** The nodes in the gateway. */
  readonly observed: readonly UpstreamNode[];
  /** The nodes that match the cluster as observed. */
  readonly desired: readonly UpstreamNode[];
  /**
   * Places (`placeOf`) of recently removed nodes without a known cause. They count as removed now, so that Pods that fail
   * one after another also trigger the guard.
   */
  readonly lost: readonly string[];
  /** Called only for nodes that would be removed. */
  readonly removalReasonOf: (node: UpstreamNode) => RemovalReason;
  /**
   * Since when the guard keeps nodes, wall clock; undefined if it keeps none. A future time (the clock was set back) counts
   * as now.
   */
  readonly guardedSince: number | undefined;
  /** The accepted time, wall clock: a removal that began up to then is accepted. */
  readonly acceptedUntil: number | undefined;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

export interface GuardVerdict {
  /** Guarded nodes, as they are in the gateway. */
  readonly held: readonly UpstreamNode[];
  /** Since when, wall clock; undefined if no node is guarded. */
  readonly since: number | undefined;
  /** When the first guarded node may be removed, wall clock; undefined if that requires acceptance. */
  readonly until: number | undefined;
  /** Nodes removed without a known cause, because they are few. */
  readonly lost: readonly UpstreamNode[];
}

/** A restored API server, or a controller that recreates its Pods, lists the endpoints again within this time. */
const VANISHED_HOLD_MS = 30_000;

const NOTHING_HELD: GuardVerdict = { held: [], since: undefined, until: undefined, lost: [] };

/**
 * The nodes to keep although their endpoints are unavailable. The guard acts only if all nodes, or more than
 * `maxRemovalPercent` of them, would be removed. Only nodes with positive weight count. A rolling update does not trigger
 * it, because new nodes replace the old ones.
 */
export function guardRemoval(input: GuardInput): GuardVerdict {
  const { policy, removalReasonOf, now } = input;
  if (policy.maxRemovalPercent >= 100) return NOTHING_HELD;
  const observed = input.observed.filter(carriesWeight);
  const desired = input.desired.filter(carriesWeight);
  const wanted = new Set(input.desired.map(placeOf));
  const gone = observed
    .filter((node) => !wanted.has(placeOf(node)))
    .map((node) => ({ node, reason: removalReasonOf(node) }));
  const present = new Set(observed.map(placeOf));
  const before = input.lost.filter((place) => !wanted.has(place) && !present.has(place)).length;
  if (!isTooMuch(observed.length + before, desired.length, policy)) {
    return {
      ...NOTHING_HELD,
      lost: gone.flatMap(({ node, reason }) => (reason === 'explained' ? [] : [node])),
    };
  }
  const since = Math.min(input.guardedSince ?? now, now);
  if (input.acceptedUntil !== undefined && since <= input.acceptedUntil) return NOTHING_HELD;
  const ends: Record<RemovalReason, number> = {
    explained: Number.NEGATIVE_INFINITY,
    sick: policy.whenExpired === 'Hold' ? Number.POSITIVE_INFINITY : since + policy.holdForMs,
    vanished: since + VANISHED_HOLD_MS,
  };
  const held = gone.filter(({ reason }) => ends[reason] > now);
  const until = Math.min(...held.map(({ reason }) => ends[reason]));
  return {
    held: held.map(({ node }) => node),
    since: held.length === 0 ? undefined : since,
    until: Number.isFinite(until) ? until : undefined,
    lost: [],
  };
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
