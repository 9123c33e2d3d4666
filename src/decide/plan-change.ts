import type { GatewayUpstream } from '../model/objects.ts';
import type { ObservedUpstream, Upstream } from '../model/upstream.ts';
import type { ResolvedBackend } from './backends.ts';
import type { Evaluated } from './build-desired.ts';
import type { Change } from './change.ts';
import { withNodesOf } from './diff.ts';
import { diffUpstream } from './diff-upstream.ts';
import { type Guarded, guard } from './guarded-desired.ts';
import { createTimeSeconds } from './owner.ts';
import { isOwn, type Ownership, ownershipOf } from './ownership.ts';
import { recognizeBackends } from './recognized-backends.ts';
import type { Snapshot } from './snapshot.ts';

/** The decision for an evaluated object. */
export interface Decision extends Guarded {
  readonly change: Change;
  readonly ownership: Ownership;
  /** The upstream that the object owns, which is replaced and deleted as a whole; undefined if there is none. */
  readonly own: ObservedUpstream | undefined;
  /** The driver's canonical form of the desired upstream. */
  readonly canonical: string;
  /** With what the gateway tells about backends that have not answered yet. */
  readonly backends: readonly ResolvedBackend[];
}

/** Decides the change for an evaluated object, given `observed` in the gateway. */
export function planChange(
  snapshot: Snapshot,
  built: Evaluated,
  object: GatewayUpstream,
  observed: ObservedUpstream | undefined,
  canonicalOf: (upstream: Upstream) => string,
): Decision {
  const { accepted, owner, terms } = built;
  const ownership = ownershipOf(observed, owner, createTimeSeconds(object));
  const own = terms.manage === 'Object' && isOwn(ownership) ? observed : undefined;
  if (accepted.status !== 'True') return planDenied(built, ownership, own, canonicalOf);
  // Nodes that another client wrote are not endpoints, so the removal guard does not apply to them.
  const kept = own ?? (terms.keptBefore && ownership !== 'foreign' ? observed : undefined);
  const evaluation = kept === undefined ? built : recognizeBackends(snapshot, built, object, kept);
  const guarded: Guarded =
    kept === undefined
      ? { desired: evaluation.desired, lost: [] }
      : guard(snapshot, evaluation, object, kept);
  const wanted = canonicalOf(guarded.desired.upstream);
  const canonical =
    terms.manage === 'Nodes' && observed !== undefined ? withNodesOf(wanted, observed.canonical) : wanted;
  const change = diffUpstream(guarded.desired, canonical, observed, ownership, terms);
  return { change, ownership, own, canonical, backends: evaluation.backends, ...guarded };
}

/**
 * The decision for an object that is not accepted: its own upstream loses its nodes, which stops the traffic. Other fields
 * are not written, because the spec may contain values that the connection denies. The status reveals nothing about an
 * upstream that the object does not own, not even whether the id exists.
 */
function planDenied(
  { desired, backends }: Evaluated,
  ownership: Ownership,
  own: ObservedUpstream | undefined,
  canonicalOf: (upstream: Upstream) => string,
): Decision {
  const wanted = canonicalOf(desired.upstream);
  if (own === undefined || desired.action !== 'onlyIfPresent') {
    return { change: { kind: 'none' }, ownership, own, canonical: wanted, backends, desired, lost: [] };
  }
  const { owner: _, ...unmarked } = desired.upstream;
  const upstream = { ...unmarked, labels: own.labels };
  const canonical = withNodesOf(wanted, own.canonical);
  return {
    change:
      own.canonical === canonical
        ? { kind: 'none' }
        : { kind: 'updateNodes', desired: upstream, observed: own },
    ownership,
    own,
    canonical,
    backends,
    desired: { ...desired, upstream },
    lost: [],
  };
}
