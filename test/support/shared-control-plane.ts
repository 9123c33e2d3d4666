import { inject } from 'vitest';
import { type ClusterAccess, createClusterAccess } from './control-plane/cluster-access.ts';

/**
 * Access to the control plane that the whole test run shares: work in a namespace from `newNamespace`, and start a
 * control plane of your own to stop components.
 */
export function sharedControlPlane(): ClusterAccess {
  return createClusterAccess(inject('controlPlane'));
}
