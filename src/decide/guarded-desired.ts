import { isDeepStrictEqual } from 'node:util';
import { durationMs } from '../api/schema.ts';
import { keyOf } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { ObservedUpstream, UpstreamNode } from '../model/upstream.ts';
import { backendMarks } from './backend-marks.ts';
import { carriesWeight, type ResolvedBackend } from './backends.ts';
import type { Evaluated } from './build-desired.ts';
import { buildUpstream } from './build-upstream.ts';
import type { Desired } from './desired.ts';
import {
  guardedBackends,
  registryBackends,
  unitsOf,
  unknownBackends,
  vanishedHolds,
} from './guarded-backends.ts';
import { markedWeights } from './node-marks.ts';
import { nodePolicyOf } from './object-policy.ts';
import type { Basis, Kept, Remembered } from './remembered.ts';
import {
  acceptedUntil,
  type GuardInput,
  type GuardVerdict,
  guardRemoval,
  type HeldNode,
  type NodeRemoval,
  placeOf,
  type Removal,
} from './removal-guard.ts';
import { createRemovalReasonOf } from './removal-reason.ts';
import type { Snapshot } from './snapshot.ts';
import { trueSince } from './status.ts';

/** The result of the removal guard. */
export interface Guarded {
  /** The desired upstream, including guarded nodes. */
  readonly desired: Desired;
  /** Nodes removed without a known cause, because they are few. */
  readonly lost: readonly Removal[];
  /** Absent if no node is guarded. */
  readonly guard?: {
    readonly held: readonly (HeldNode & Kept)[];
    /** Since when the first of them is guarded, wall clock. */
    readonly since: number;
    /** Since when the last of them is guarded, wall clock. Accepting this time accepts all of these removals. */
    readonly newest: number;
    /** When the first guarded node may be removed, wall clock; undefined if that requires acceptance. */
    readonly until: number | undefined;
    /** How long vanished nodes of this upstream are kept at most, in milliseconds. */
    readonly vanishedHoldMs: number;
  };
}

/** Applies the removal guard to the desired upstream. */
export function guard(
  snapshot: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  observed: ObservedUpstream,
): Guarded {
  const { desired, spec, backends, clientCertificate } = evaluation;
  const wanted = new Set(desired.upstream.nodes.map(placeOf));
  const remembered = snapshot.recall(keyOf(object));
  if (
    observed.nodes.every((node) => wanted.has(placeOf(node))) ||
    // Without a resolved reference, either nothing is written or the cause of every removal is known.
    desired.action !== 'write'
  ) {
    return { desired, lost: [] };
  }
  const holds = vanishedHolds(snapshot, backends);
  const verdict = judge(snapshot, evaluation, object, observed, { remembered, holds });
  const { lost } = verdict;
  if (verdict.held.length === 0) return { desired, lost };
  const held = unitsOf(evaluation, observed, verdict.held, (node) => remembered?.kept(node)?.lastingUnit);
  const until = Math.min(...held.map((one) => one.until));
  return {
    desired: buildUpstream(spec, evaluation.identity, backends, held, clientCertificate),
    lost,
    guard: {
      held,
      since: Math.min(...held.map(({ since }) => since)),
      newest: Math.max(...held.map(({ since }) => since)),
      until: Number.isFinite(until) ? until : undefined,
      vanishedHoldMs: holds(undefined),
    },
  };
}

function judge(
  snapshot: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  observed: ObservedUpstream,
  {
    remembered,
    holds,
  }: { readonly remembered: Remembered | undefined; readonly holds: GuardInput['vanishedHoldMs'] },
): GuardVerdict {
  const { spec, backends, desired } = evaluation;
  const removals = changeExplains(
    snapshot,
    evaluation,
    object,
    remembered,
    removalReasonsOf(snapshot, evaluation, object),
  );
  // After a restart only the start of the first hold is known, but not which nodes had vanished then.
  const heldSince = trueSince(object.status?.conditions, 'RemovalHeld');
  const input: GuardInput = {
    policy: {
      maxRemovalPercent: spec.removalGuard.maxRemovalPercent,
      holdForMs: durationMs(spec.removalGuard.holdFor),
      whenExpired: spec.removalGuard.whenExpired,
    },
    // Nodes that another client added are drift and are repaired at once.
    observed: observed.nodes.filter((node) => remembered?.put(node) ?? true),
    desired: desired.upstream.nodes,
    backends: guardedBackends(evaluation),
    lost: remembered?.lost ?? [],
    removalOf: removals,
    vanishedHoldMs: holds,
    isUnknown: unknownBackends(backends),
    returnsGradually: registryBackends(backends),
    keptBefore: ({ node, reason }) => {
      if (remembered !== undefined) return remembered.kept(node);
      if (heldSince === undefined || reason !== 'sick') return undefined;
      return { since: heldSince, begun: { sick: heldSince } };
    },
    acceptedUntil: acceptedUntil(object.acceptRemoval),
    now: snapshot.now(),
  };
  const verdict = guardRemoval(input);
  // This check reads every slice, so it runs only for nodes that would be guarded.
  const elsewhere = listedElsewhere(snapshot, backends, verdict.held);
  if (elsewhere.size === 0) return verdict;
  const removalOf = (node: UpstreamNode): NodeRemoval =>
    elsewhere.has(placeOf(node)) ? { ...removals(node), reason: 'explained' } : removals(node);
  return guardRemoval({ ...input, removalOf });
}

/**
 * The places of `held` nodes that vanished from a Service and whose address another Service lists now. A registry lists
 * an address without any statement about who used it before.
 */
function listedElsewhere(
  { source }: Snapshot,
  backends: readonly ResolvedBackend[],
  held: readonly HeldNode[],
): ReadonlySet<string> {
  const vanished = held.filter(({ reason, backend }) => {
    const kind = backend === undefined ? undefined : backends[backend]?.target.kind;
    return reason === 'vanished' && kind !== 'registry';
  });
  const refs = backends.flatMap(({ target }) => (target.kind === 'service' ? [target.ref] : []));
  if (vanished.length === 0 || refs.length === 0) return new Set();
  const addresses = source.listedElsewhere(refs, new Set(vanished.map(({ node }) => node.host)));
  return new Set(vanished.flatMap(({ node }) => (addresses.has(node.host) ? [placeOf(node)] : [])));
}

/**
 * `removals`, and what a change of the spec, a Service or its namespace explains. For some time after a change, the endpoints
 * of a Service may follow it. What a registry lists does not depend on the spec: a change explains the removal of an instance
 * only if no backend of positive weight selects it any more.
 */
function changeExplains(
  { namespaces }: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  remembered: Remembered | undefined,
  removals: (node: UpstreamNode) => NodeRemoval,
): (node: UpstreamNode) => NodeRemoval {
  const targets = evaluation.backends.map(({ target }) => target);
  const isTerminating = targets.some(
    (target) => target.kind === 'service' && namespaces.get('', target.ref.namespace)?.terminating === true,
  );
  const isChanging = hasChanged(evaluation, object, remembered);
  if (!isTerminating && !isChanging && remembered?.isSettling !== true) return removals;
  const marks = backendMarks(targets, evaluation.identity.keepsBackendMarks === true);
  const registries = new Set(
    marks?.filter((_, index) => {
      const target = targets[index];
      return target?.kind === 'registry' && carriesWeight(target);
    }),
  );
  return (node) => {
    const removal = removals(node);
    const marked = markedWeights(node);
    const isInstance =
      marked.length > 0
        ? marked.some(({ mark }) => registries.has(mark))
        : // Without a mark, the node may come from a backend that was in the spec before the change.
          !isChanging && removal.backend !== undefined && targets[removal.backend]?.kind === 'registry';
    return isInstance ? removal : { ...removal, reason: 'explained' };
  };
}

/** Whether the inputs that determine the endpoints have changed since the gateway last matched them. */
function hasChanged(
  evaluation: Evaluated,
  object: GatewayUpstream,
  remembered: Remembered | undefined,
): boolean {
  if (remembered !== undefined) {
    return remembered.isChanging || !isDeepStrictEqual(remembered.basis, basisOf(evaluation));
  }
  // After a restart, only a change of the spec since the last status is visible.
  const generation = object.status?.observedGeneration;
  // Kubernetes increments the generation on deletion. The status shows InUse once that generation was reconciled.
  const isNew =
    object.deletionTimestamp !== undefined &&
    !object.status?.conditions?.some(({ type, reason }) => type === 'Programmed' && reason === 'InUse');
  const newest = object.generation - (isNew ? 1 : 0);
  return generation !== undefined && generation < newest;
}

/** The inputs that determine which endpoints exist. */
export function basisOf({ spec, backends }: Evaluated): Basis {
  return [
    spec.backends,
    spec.scheme,
    spec.endpoints,
    ...backends.map((backend) =>
      'found' in backend
        ? [
            'addressing' in backend.target ? backend.target.addressing : null,
            // Everything that selects instances of a registry is in the spec.
            'basis' in backend.found && backend.target.kind === 'service' ? backend.found.basis : null,
          ]
        : null,
    ),
  ];
}

function removalReasonsOf(
  snapshot: Snapshot,
  { backends, identity }: Evaluated,
  object: GatewayUpstream,
): (node: UpstreamNode) => NodeRemoval {
  const targets = backends.map(({ target }) => target);
  const removalReasonOf = createRemovalReasonOf(
    backends,
    (index, removedEndpoints) => {
      const target = targets[index];
      return target === undefined || target.kind === 'addresses'
        ? 'unknown'
        : snapshot.source.departure(target.ref, removedEndpoints);
    },
    backendMarks(targets, identity.keepsBackendMarks === true),
  );
  // The guard never keeps an address that the connection or the registry does not allow.
  const isAllowed = nodePolicyOf(snapshot, object);
  return (node) => {
    const removal = removalReasonOf(node);
    const target = removal.backend === undefined ? undefined : targets[removal.backend];
    return isAllowed(node.host, target) ? removal : { ...removal, reason: 'explained' };
  };
}
