import { inject } from 'vitest';
import {
  type ClusterAccess,
  type ClusterCoordinates,
  createClusterAccess,
} from './control-plane/cluster-access.ts';

/**
 * Access to the control plane of this worker, which its files use one after the other. Use a namespace from `newNamespace`.
 * To stop components or change cluster-scoped state, start a separate control plane.
 */
export async function sharedControlPlane(): Promise<ClusterAccess> {
  const slot = process.env['VITEST_POOL_ID'] ?? '1';
  const answer = await fetch(`${inject('controlPlanes')}/${slot}`);
  if (!answer.ok) throw new Error(`the shared control plane did not start: ${await answer.text()}`);
  return createClusterAccess((await answer.json()) as ClusterCoordinates);
}
