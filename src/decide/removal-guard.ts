import type { UpstreamNode } from '../model/upstream.ts';

/**
 * Why a node that the gateway holds is not wanted any more.
 * - `explained`: what was seen says that it should go.
 * - `sick`: its endpoint is listed, but neither ready nor terminating.
 * - `vanished`: its endpoint is not listed any more and was never seen terminating.
 */
export type RemovalReason = 'explained' | 'sick' | 'vanished';

export interface GuardPolicy {
  /** 0 to 100; 100 switches the guard off. */
  readonly maxRemovalPercent: number;
  /** Milliseconds that sick endpoints are held. */
  readonly holdForMs: number;
  /** What becomes of them then. */
  readonly whenExpired: 'Clear' | 'Hold';
}

export interface GuardInput {
  readonly policy: GuardPolicy;
  /** What the gateway holds. */
  readonly observed: readonly UpstreamNode[];
  /** What it should hold if everything that is seen is true. */
  readonly desired: readonly UpstreamNode[];
  /**
   * Places (`placeOf`) of nodes that went unexplained a short while ago without being held: a cluster whose Pods fail
   * one after the other must not pass node by node.
   */
  readonly lost: readonly string[];
  /** Asked only about nodes that would go. */
  readonly removalReasonOf: (node: UpstreamNode) => RemovalReason;
  /** Since when something is held, wall clock; undefined where nothing is. A time to come is now: the clock was set back. */
  readonly heldSince: number | undefined;
  /** Up to when a hold that has begun is ended by somebody's word, wall clock. */
  readonly acceptedUntil: number | undefined;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

export interface GuardVerdict {
  /** Nodes that stay though they are not wanted, as the gateway holds them. */
  readonly held: readonly UpstreamNode[];
  /** Since when, wall clock; undefined where nothing is held. */
  readonly since: number | undefined;
  /** When some of them may go, wall clock; undefined where none ever does by itself. */
  readonly until: number | undefined;
  /** Nodes that go though nothing explains it, since they are few. */
  readonly lost: readonly UpstreamNode[];
}

/** An API server that was restored, or a controller that lost its Pods, lists them again within this time. */
const VANISHED_HOLD_MS = 30_000;

const NOTHING_HELD: GuardVerdict = { held: [], since: undefined, until: undefined, lost: [] };

/**
 * What stays in the gateway although its endpoint is gone. Acts only where nothing would be left, or less than
 * `maxRemovalPercent` allows, counted in nodes of positive weight: a rolling update passes.
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
  const since = Math.min(input.heldSince ?? now, now);
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

/** A node's place as text. */
export function placeOf({ host, port }: Pick<UpstreamNode, 'host' | 'port'>): string {
  return `${host} ${port}`;
}

/** Up to when what waits is over by an annotation that says `accepted`, wall clock; undefined where that is no time. */
export function acceptedUntil(accepted: string | undefined): number | undefined {
  const at = accepted === undefined ? Number.NaN : Date.parse(accepted);
  // A condition's time has whole seconds.
  return Number.isNaN(at) ? undefined : at + 999;
}

/** What a message says of an annotation that is no time; empty where it is one, or is not there. */
export function noTimeNote(accepted: string | undefined): string {
  const isTime = accepted === undefined || acceptedUntil(accepted) !== undefined;
  return isTime ? '' : ` (the current value of the annotation is not a valid time: ${accepted})`;
}
