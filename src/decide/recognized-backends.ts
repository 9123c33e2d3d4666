import type { GatewayUpstream } from '../model/objects.ts';
import type { ObservedUpstream, UpstreamNode } from '../model/upstream.ts';
import { type BackendMarks, backendMarks, backendsMark, unlistedMarks } from './backend-marks.ts';
import { isRecognized, type ResolvedBackend } from './backends.ts';
import type { Evaluated } from './build-desired.ts';
import { buildUpstream, type Identity } from './build-upstream.ts';
import { isUnlisted, unseenAnswer, withoutInstances } from './last-answers.ts';
import { markedWeights } from './node-marks.ts';
import { nodePolicyOf } from './object-policy.ts';
import { placeOf } from './removal-guard.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * `evaluation` with what the marks of the nodes in the gateway tell after a restart of the operator. `observed` is the
 * upstream of the object.
 * - A backend that has not answered yet keeps its nodes and its share, and the other backends move on.
 * - A service that its registry does not know, but that has nodes in the gateway, is known: it lost its instances.
 *
 * If the nodes of a backend cannot be recognized, the object waits as before.
 */
export function recognizeBackends(
  snapshot: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  observed: ObservedUpstream,
): Evaluated {
  const { backends, identity, spec, clientCertificate } = evaluation;
  if (!backends.some(isUnseen)) return evaluation;
  const targets = backends.map(({ target }) => target);
  const marks = backendMarks(targets, identity.keepsBackendMarks === true);
  const nodes = nodesByMark(observed);
  const unlisted = marks && unlistedBefore(evaluation, observed, marks);
  const isAllowed = nodePolicyOf(snapshot, object);
  const recognized = backends.map((backend, index) => {
    const mark = marks?.[index];
    // Without marks, any node of the upstream may come from the backend.
    if (marks === undefined) return observed.nodes.length === 0 ? backend : seen(backend);
    return mark === undefined
      ? backend
      : recognize(
          backend,
          nodes.get(mark) ?? (unlisted && []),
          nodes.has(mark) || unlisted?.has(mark) === false,
          isAllowed,
        );
  });
  if (recognized.every((backend, index) => backend === backends[index])) return evaluation;
  const isStillUnlisted = (index: number) =>
    isUnlisted(recognized[index]) ||
    (isRecognized(recognized[index]) && unlisted?.has(marks?.[index] ?? '') === true);
  const backendsMarked = backendsMark(targets, identity.keepsBackendMarks === true, isStillUnlisted);
  const named: Identity =
    identity.owner === undefined || backendsMarked === undefined
      ? identity
      : { ...identity, owner: { ...identity.owner, backends: backendsMarked } };
  const desired = buildUpstream(spec, named, recognized, [], clientCertificate);
  return { ...evaluation, identity: named, backends: recognized, desired };
}

/** Whether the backend has given no answer from which its nodes in the gateway follow. */
function isUnseen(backend: ResolvedBackend): boolean {
  if (!('found' in backend)) return false;
  return backend.found.state === 'unknown' || unseenAnswer(backend.target.ref, backend.found);
}

function recognize(
  backend: ResolvedBackend,
  nodes: readonly UpstreamNode[] | undefined,
  wasListed: boolean,
  isAllowed: ReturnType<typeof nodePolicyOf>,
): ResolvedBackend {
  if (!('found' in backend) || !isUnseen(backend)) return backend;
  if (backend.found.state === 'unknown') {
    // A backend of weight 0 has no nodes in the gateway, so none of them can be lost.
    const known = nodes ?? (backend.target.weight === 0 ? [] : undefined);
    if (known === undefined) return backend;
    const recognized = known.filter(({ host }) => isAllowed(host, backend.target));
    return { ...backend, recognized };
  }
  return wasListed ? seen(backend) : backend;
}

/** `backend`, whose service had instances before the operator started. */
function seen(backend: ResolvedBackend): ResolvedBackend {
  if (!('found' in backend) || !unseenAnswer(backend.target.ref, backend.found)) return backend;
  return { target: backend.target, found: withoutInstances, answer: withoutInstances };
}

/**
 * The marks of the backends that their registry had never listed when the upstream was written; undefined if not all backends
 * had answered then. Otherwise a backend without nodes had none, unless another client removed marks: that leaves nodes that no
 * backend explains.
 */
function unlistedBefore(
  { backends }: Evaluated,
  observed: ObservedUpstream,
  marks: BackendMarks,
): ReadonlySet<string> | undefined {
  const unlisted = unlistedMarks(
    backends.map(({ target }) => target),
    marks,
    observed.owner?.backends,
  );
  const addresses = new Set(
    backends.flatMap(({ target }) =>
      target.kind === 'addresses'
        ? target.addresses.map(({ host, port }) => placeOf({ host: host.toLowerCase(), port }))
        : [],
    ),
  );
  const areExplained = observed.nodes.every(
    (node) => addresses.has(placeOf(node)) || markedWeights(node).some(({ mark }) => marks.includes(mark)),
  );
  return areExplained ? unlisted : undefined;
}

/** The nodes of each mark, with their weights for this mark. */
function nodesByMark({ nodes }: ObservedUpstream): ReadonlyMap<string, readonly UpstreamNode[]> {
  const byMark = new Map<string, UpstreamNode[]>();
  for (const node of nodes) {
    for (const { mark, weight } of markedWeights(node)) {
      const known = byMark.get(mark) ?? [];
      byMark.set(mark, known);
      known.push({ ...node, weight });
    }
  }
  return byMark;
}
