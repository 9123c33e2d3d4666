import type { TestProject } from 'vitest/node';
import type { ClusterCoordinates } from './control-plane/cluster-access.ts';
import { startControlPlane } from './control-plane/control-plane.ts';

declare module 'vitest' {
  interface ProvidedContext {
    readonly controlPlane: ClusterCoordinates;
  }
}

/** One control plane for all files of the project. Resolves to its teardown. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const controlPlane = await startControlPlane();
  const { server, caPem, dir, kubeconfig, adminToken, serviceAccountKeyPem, binaries } = controlPlane;
  project.provide('controlPlane', {
    server,
    caPem,
    dir,
    kubeconfig,
    adminToken,
    serviceAccountKeyPem,
    binaries,
  });
  return controlPlane.close;
}
