import { keyOf, splitKey } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { UpstreamId } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import { winnerOf } from './conflict-winner.ts';
import { accessOf } from './object-access.ts';
import { createTimeSeconds, ownerOf } from './owner.ts';
import { ownershipOf } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';
/** What is said where another object keeps `id`. */
export function claimProblem(
  snapshot: Snapshot,
  object: GatewayUpstream,
  id: UpstreamId,
): Verdict | undefined {
  const keeper = keeperFor(snapshot, object, id);
  if (keeper === undefined || keyOf(keeper) === keyOf(object)) return undefined;
  return {
    status: 'False',
    reason: 'IdTaken',
    message: `GatewayUpstream ${keyOf(keeper)} has upstream id ${id} of this connection already: choose another upstreamId in a new object`,
  };
}

/** The object that keeps `id`, of those that the connection lets have it. */
function keeperFor(snapshot: Snapshot, object: GatewayUpstream, id: UpstreamId): GatewayUpstream | undefined {
  const contenders = snapshot.claims.contenders(object.connection, id);
  if (contenders.length < 2) return object;
  const connection = snapshot.connections.get('', object.connection);
  const rivals = contenders.flatMap((key) => {
    const { namespace, name } = splitKey(key);
    const rival = snapshot.upstreams.get(namespace, name);
    if (rival === undefined || !rival.spec.ok || connection?.spec.ok !== true) return [];
    const problem = accessOf(snapshot, rival, rival.spec.value, connection.spec.value);
    return problem === undefined ? [rival] : [];
  });
  const held = snapshot.held(object.connection, id);
  if (held.known) {
    const { observed } = held;
    // Whoever lost its labels to somebody's PUT must not lose the id to a rival as well: the traffic would stop meanwhile.
    const stripped = rivals.find(
      (rival) =>
        ownershipOf(observed, ownerOf(snapshot.clusterId, rival), createTimeSeconds(rival)) === 'stripped',
    );
    return stripped ?? winnerOf(rivals, { kind: 'listed', observed });
  }
  return winnerOf(rivals, {
    kind: 'unknown',
    heldBefore: ({ status }) =>
      status?.upstreamId === id &&
      status.conditions?.some(({ type, status: was }) => type === 'Accepted' && was === 'True') === true,
  });
}
