import { keyOf, splitKey } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { UpstreamId } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import { winnerOf } from './conflict-winner.ts';
import { accessOf } from './object-access.ts';
import { createTimeSeconds, ownerOf } from './owner.ts';
import { ownershipOf } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';

/** The id conflict for the condition Accepted; undefined if `object` may use `id`. */
export function idProblem(snapshot: Snapshot, object: GatewayUpstream, id: UpstreamId): Verdict | undefined {
  const winner = winnerFor(snapshot, object, id);
  if (winner === undefined || keyOf(winner) === keyOf(object)) return undefined;
  return {
    status: 'False',
    reason: 'IdTaken',
    message: `GatewayUpstream ${keyOf(winner)} already uses upstream id ${id} in this connection: set another upstreamId in a new object`,
  };
}

/** The object that may use `id`, among the contenders that the connection allows. */
function winnerFor(snapshot: Snapshot, object: GatewayUpstream, id: UpstreamId): GatewayUpstream | undefined {
  const contenders = snapshot.conflicts.contenders(object.connection, id);
  if (contenders.length < 2) return object;
  const connection = snapshot.connections.get('', object.connection);
  const candidates = contenders.flatMap((key) => {
    const { namespace, name } = splitKey(key);
    const candidate = snapshot.upstreams.get(namespace, name);
    if (candidate === undefined || !candidate.spec.ok || connection?.spec.ok !== true) return [];
    const problem = accessOf(snapshot, candidate, candidate.spec.value, connection.spec.value);
    return problem === undefined ? [candidate] : [];
  });
  const content = snapshot.contentOf(object.connection, id);
  if (content.known) {
    const { observed } = content;
    // An object whose ownership labels another client removed keeps the id; otherwise its traffic would stop.
    const stripped = candidates.find(
      (candidate) =>
        ownershipOf(observed, ownerOf(snapshot.clusterId, candidate), createTimeSeconds(candidate)) ===
        'stripped',
    );
    return stripped ?? winnerOf(candidates, { kind: 'listed', observed });
  }
  return winnerOf(candidates, {
    kind: 'unknown',
    heldBefore: ({ status }) =>
      status?.upstreamId === id &&
      status.conditions?.some(({ type, status: was }) => type === 'Accepted' && was === 'True') === true,
  });
}
