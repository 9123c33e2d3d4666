import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { buildProgram } from './built-program.ts';
import { ensureBinaries } from './control-plane/binaries.ts';
import type { ClusterCoordinates } from './control-plane/cluster-access.ts';
import { type ControlPlane, startControlPlane } from './control-plane/control-plane.ts';
import { PROGRAM_VARIABLE } from './main.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The URL at which a worker gets the control plane of its slot: `GET <this>/<slot>`. */
    readonly controlPlanes: string;
  }
}

/**
 * Builds the program once for all files of the run, and serves one control plane to each worker. Files that run at the same
 * time never share a control plane. A control plane starts when a worker first asks for it, so a single file starts at most one.
 * Resolves to the teardown.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Build here, where the progress is visible, before the tests need the binaries.
  await ensureBinaries({ env: process.env, report: (line) => process.stderr.write(`${line}\n`) });
  const program = await buildProgram();
  process.env[PROGRAM_VARIABLE] = program.main;
  const bySlot = new Map<string, Promise<ControlPlane>>();
  const server = createServer(async ({ url = '' }, response) => {
    const started = bySlot.get(url) ?? startControlPlane();
    bySlot.set(url, started);
    try {
      response.end(JSON.stringify(coordinatesOf(await started)));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  project.provide('controlPlanes', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    server.closeAllConnections();
    server.close();
    const started = await Promise.allSettled(bySlot.values());
    await Promise.all(started.map((one) => (one.status === 'fulfilled' ? one.value.close() : undefined)));
    await program[Symbol.asyncDispose]();
  };
}

function coordinatesOf(controlPlane: ControlPlane): ClusterCoordinates {
  const { server, caPem, dir, kubeconfig, adminToken, serviceAccountKeyPem, binaries } = controlPlane;
  return { server, caPem, dir, kubeconfig, adminToken, serviceAccountKeyPem, binaries };
}
