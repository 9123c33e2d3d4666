import { isDeepStrictEqual } from 'node:util';
import { durationMs } from '../api/schema.ts';
import { keyOf } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { ObservedUpstream, UpstreamNode } from '../model/upstream.ts';
import type { ResolvedBackend } from './backends.ts';
import type { Evaluated } from './build-desired.ts';
import { buildUpstream } from './build-upstream.ts';
import type { Desired } from './desired.ts';
import { type HostPolicy, hostPolicy } from './host-policy.ts';
import type { Basis, Remembered } from './remembered.ts';
import { acceptedUntil, type GuardInput, guardRemoval, placeOf } from './removal-guard.ts';
import { createRemovalReasonOf, type NodeRemoval } from './removal-reason.ts';
import type { Snapshot } from './snapshot.ts';
import { trueSince } from './status.ts';

/** The result of the removal guard. */
export interface Guarded {
  /** The desired upstream, including guarded nodes. */
  readonly desired: Desired;
  /** Nodes removed without a known cause, because they are few. */
  readonly lost: readonly UpstreamNode[];
  /** Absent if no node is guarded. */
  readonly guard?: {
    readonly held: readonly UpstreamNode[];
    /** Wall clock. */
    readonly since: number;
    /** When the first guarded node may be removed, wall clock; undefined if that requires acceptance. */
    readonly until: number | undefined;
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
    desired.action !== 'write' ||
    isExplained(snapshot, evaluation, object, remembered)
  ) {
    return { desired, lost: [] };
  }
  const removals = removalReasonsOf(snapshot, backends, policyOf(snapshot, object));
  const guardedSince =
    remembered === undefined ? trueSince(object.status?.conditions, 'RemovalHeld') : remembered.guardedSince;
  const now = snapshot.now();
  const judge = (removalReasonOf: GuardInput['removalReasonOf']) =>
    guardRemoval({
      policy: {
        maxRemovalPercent: spec.removalGuard.maxRemovalPercent,
        holdForMs: durationMs(spec.removalGuard.holdFor),
        whenExpired: spec.removalGuard.whenExpired,
      },
      // Nodes that another client added are drift and are repaired at once.
      observed: observed.nodes.filter((node) => remembered?.put(node) ?? true),
      desired: desired.upstream.nodes,
      lost: remembered?.lost ?? [],
      removalReasonOf,
      guardedSince,
      acceptedUntil: acceptedUntil(object.acceptRemoval),
      now,
    });
  let verdict = judge((node) => removals(node).reason);
  // This check reads every slice, so it runs only for nodes that would be guarded.
  const elsewhere = listedElsewhere(snapshot, backends, verdict.held, removals);
  if (elsewhere.size > 0) {
    verdict = judge((node) => (elsewhere.has(node.host) ? 'explained' : removals(node).reason));
  }
  const { held, since, until, lost } = verdict;
  if (since === undefined) return { desired, lost };
  return {
    desired: buildUpstream(
      spec,
      evaluation.identity,
      backends,
      held.map((node) => ({ node, backend: removals(node).backend })),
      clientCertificate,
    ),
    lost,
    guard: { held, since, until },
  };
}

/** The addresses among `held` that vanished from these backends and that another Service lists now. */
function listedElsewhere(
  { source }: Snapshot,
  backends: readonly ResolvedBackend[],
  held: readonly UpstreamNode[],
  removals: (node: UpstreamNode) => NodeRemoval,
): ReadonlySet<string> {
  const vanished = held.filter((node) => removals(node).reason === 'vanished').map(({ host }) => host);
  if (vanished.length === 0) return new Set();
  return source.listedElsewhere(
    backends.flatMap(({ target }) => (target.kind === 'addresses' ? [] : [target.ref])),
    new Set(vanished),
  );
}

/** Whether a change of the spec, the Service or its namespace explains the removal. */
function isExplained(
  { namespaces }: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  remembered: Remembered | undefined,
): boolean {
  const referenced = evaluation.backends.flatMap(({ target }) =>
    target.kind === 'service' ? [target.ref.namespace] : [],
  );
  if (referenced.some((name) => namespaces.get('', name)?.terminating === true)) return true;
  if (remembered !== undefined) {
    return remembered.isSettling || !isDeepStrictEqual(remembered.basis, basisOf(evaluation));
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
            'basis' in backend.found ? backend.found.basis : null,
          ]
        : null,
    ),
  ];
}

function removalReasonsOf(
  { source }: Snapshot,
  backends: readonly ResolvedBackend[],
  policy: HostPolicy | undefined,
): (node: UpstreamNode) => NodeRemoval {
  const removalReasonOf = createRemovalReasonOf(backends, (index, removedEndpoints) => {
    const target = backends[index]?.target;
    return target === undefined || target.kind === 'addresses'
      ? 'unknown'
      : source.departure(target.ref, removedEndpoints);
  });
  // The guard never keeps an address that the connection does not allow.
  return (node) =>
    policy?.ofNode(node.host) === undefined
      ? removalReasonOf(node)
      : { reason: 'explained', backend: undefined };
}

function policyOf({ connections }: Snapshot, { connection }: GatewayUpstream): HostPolicy | undefined {
  const spec = connections.get('', connection)?.spec;
  return spec?.ok === true ? hostPolicy(spec.value) : undefined;
}
