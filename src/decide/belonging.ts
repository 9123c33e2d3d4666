import { splitKey } from '../model/keys.ts';
import type { ObservedUpstream } from '../model/upstream.ts';
import { wantedId } from './id-conflicts.ts';
import { isRetained, isWrittenBy, markedObject } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Whether an upstream in the gateway of a connection still has its object.
 * - `notOurs`: this operator did not write it, or it is retained.
 * - `wanted`: its object exists.
 * - `orphaned`: its object no longer exists, and the upstream is not retained.
 * - `unknown`: its object would be in a namespace that this operator does not watch.
 */
export type Belonging = 'notOurs' | 'wanted' | 'orphaned' | 'unknown';

export function belongingOf(
  {
    clusterId,
    upstreams,
    connections,
    onlyNamespaces,
  }: Pick<Snapshot, 'clusterId' | 'upstreams' | 'connections' | 'onlyNamespaces'>,
  connection: string,
  observed: ObservedUpstream,
): Belonging {
  if (!isWrittenBy(observed, clusterId, connection) || isRetained(observed)) return 'notOurs';
  const mark = markedObject(observed);
  if (onlyNamespaces.length > 0 && !onlyNamespaces.includes(splitKey(mark).namespace)) return 'unknown';
  const owners = upstreams
    .byIndex('mark', mark)
    // An object with an unreadable spec may use any id in any connection.
    .filter((object) => object.connection === connection || !object.spec.ok);
  const settings = connections.get('', connection)?.spec;
  const isOrphaned = owners.every((owner) => {
    const wanted = settings?.ok === true ? wantedId(owner, settings.value.idPrefix) : undefined;
    return wanted !== undefined && wanted !== observed.id;
  });
  return isOrphaned ? 'orphaned' : 'wanted';
}
