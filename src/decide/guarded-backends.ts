import { durationMs } from '../api/schema.ts';
import type { ObservedUpstream, UpstreamNode } from '../model/upstream.ts';
import type { Place } from './addressing.ts';
import { backendMarks } from './backend-marks.ts';
import { carriesWeight, type ResolvedBackend } from './backends.ts';
import type { Evaluated } from './build-desired.ts';
import { markedWeights } from './node-marks.ts';
import type { Kept } from './remembered.ts';
import { type GuardedBackend, type HeldNode, placeOf, VANISHED_HOLD_MS } from './removal-guard.ts';
import type { Snapshot } from './snapshot.ts';
import { type GuardedNode, placedBy } from './weighed-nodes.ts';

/**
 * How long vanished nodes of a backend are kept, in milliseconds; for an unknown backend, the longest time of all. A
 * registry does not show whether an instance was deregistered or lost.
 */
export function vanishedHolds(
  { registries }: Snapshot,
  backends: readonly ResolvedBackend[],
): (backend: number | undefined) => number {
  const holds = backends.map(({ target }) => {
    const spec = target.kind === 'registry' ? registries?.get('', target.ref.registry)?.spec : undefined;
    return spec?.ok === true ? durationMs(spec.value.vanishedHold) : VANISHED_HOLD_MS;
  });
  const longest = Math.max(VANISHED_HOLD_MS, ...holds);
  return (backend) => (backend === undefined ? longest : (holds[backend] ?? longest));
}

/** Whether the source of a backend has no current answer; for an unknown backend, the source of any. */
export function unknownBackends(
  backends: readonly ResolvedBackend[],
): (backend: number | undefined) => boolean {
  const unknown = backends.map((backend) => 'found' in backend && isUnanswered(backend));
  return (backend) => (backend === undefined ? unknown.includes(true) : unknown[backend] === true);
}

/** Whether a backend is in a registry; for an unknown backend, whether all are. */
export function registryBackends(
  backends: readonly ResolvedBackend[],
): (backend: number | undefined) => boolean {
  const inRegistry = backends.map(({ target }) => target.kind === 'registry');
  return (backend) => (backend === undefined ? !inRegistry.includes(false) : inRegistry[backend] === true);
}

function isUnanswered({ found, outdated }: Extract<ResolvedBackend, { found: unknown }>): boolean {
  return outdated !== undefined || found.state === 'unknown';
}

/** The backends that are counted separately: if several can receive traffic, each of them. */
export function guardedBackends({ spec, backends, desired }: Evaluated): readonly GuardedBackend[] {
  const weighted = [...backends.entries()].filter(([, { target }]) => carriesWeight(target));
  if (weighted.length < 2) return [];
  const written = new Set(desired.upstream.nodes.flatMap((node) => (node.weight > 0 ? [placeOf(node)] : [])));
  return weighted.map(([index, backend]) => ({
    index,
    places: new Set(
      placedBy(backend, spec.endpoints)
        .places.map(placeOf)
        .filter((at) => written.has(at)),
    ),
  }));
}

/**
 * The guarded nodes with their weights relative to the endpoints of their backend. Endpoints of a Service weigh the same; for
 * instances of a registry, the weights in the gateway tell their proportions to the first instances that stay. Later these
 * weights are a result of the guard, and rounded: taking them again would change them with every write.
 */
export function unitsOf(
  { spec, backends, identity }: Evaluated,
  observed: ObservedUpstream,
  held: readonly HeldNode[],
  unitBefore: (node: UpstreamNode) => number | undefined,
): readonly (HeldNode & GuardedNode & Kept)[] {
  const targets = backends.map(({ target }) => target);
  const marks = backendMarks(targets, identity.keepsBackendMarks === true);
  const written = new Map(observed.nodes.map((node) => [placeOf(node), node]));
  const scales = new Map<number, number | undefined>();
  const scaleOf = (index: number, backend: ResolvedBackend): number | undefined => {
    if (scales.has(index)) return scales.get(index);
    const scale = scaleBetween(placedBy(backend, spec.endpoints).places, (at) =>
      weightFor(marks?.[index], written.get(placeOf(at))),
    );
    scales.set(index, scale);
    return scale;
  };
  return held.map((one) => {
    const { node, backend } = one;
    const owner = backend === undefined ? undefined : backends[backend];
    if (backend === undefined || owner?.target.kind !== 'registry') return { ...one, unit: 1 };
    const before = unitBefore(node);
    if (before !== undefined) return { ...one, unit: before, lastingUnit: before };
    const weight = weightFor(marks?.[backend], node);
    const scale = scaleOf(backend, owner);
    // Without an instance that stays, only the proportions among the kept ones are known.
    if (scale === undefined) return { ...one, unit: Math.max(1, weight) };
    const unit = Math.max(1, Math.round(weight * scale));
    return { ...one, unit, lastingUnit: unit };
  });
}

/** The part of a node's weight in the gateway that comes from the backend with this mark; 0 without a node. */
function weightFor(mark: string | undefined, node: UpstreamNode | undefined): number {
  if (node === undefined) return 0;
  return markedWeights(node).find((part) => part.mark === mark)?.weight ?? node.weight;
}

/** How many units a weight of 1 in the gateway stands for, by the places that stay; undefined without such a place. */
function scaleBetween(places: readonly Place[], weightAt: (at: Place) => number): number | undefined {
  let [units, weights] = [0, 0];
  for (const at of places) {
    const weight = weightAt(at);
    if (weight === 0) continue;
    units += at.unit;
    weights += weight;
  }
  return units === 0 ? undefined : units / weights;
}
