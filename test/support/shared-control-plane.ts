import { inject } from 'vitest';
import {
  type ClusterAccess,
  type ClusterCoordinates,
  createClusterAccess,
} from './control-plane/cluster-access.ts';

/**
 * Access to the control plane that the files of this worker share, one after the other: work in a namespace from
 * `newNamespace`, and start a control plane of your own to stop components or to change what is cluster-wide.
 */
export async function sharedControlPlane(): Promise<ClusterAccess> {
  const slot = process.env['VITEST_POOL_ID'] ?? '1';
  const answer = await fetch(`${inject('controlPlanes')}/${slot}`);
  if (!answer.ok) throw new Error(`the shared control plane does not start: ${await answer.text()}`);
  return createClusterAccess((await answer.json()) as ClusterCoordinates);
}
