import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ToolMissingError } from '../control-plane/tool-cache.ts';
import type { BaseSource } from './base-image.ts';

export type Engine = 'docker' | 'buildah';

/** These drivers run BuildKit, which writes OCI archives and builds for several platforms. */
const ARCHIVE_DRIVERS = ['docker-container', 'kubernetes', 'remote'];

/** Only buildah finds the local base, which is in its store. */
export async function selectEngine(base: BaseSource): Promise<Engine> {
  const driver = base === 'local' ? undefined : await driverOfDocker();
  if (driver !== undefined && (await writesArchives(driver))) return 'docker';
  if ((await outputOf('buildah', '--version')) !== undefined) return 'buildah';
  if (base === 'local')
    throw new ToolMissingError('the image on the local base is built by buildah: install buildah');
  if (driver !== undefined)
    throw new ToolMissingError(
      `the selected builder of Docker has the driver "${driver}", which cannot write an OCI archive: run "docker buildx create --use", or install buildah`,
    );
  throw new ToolMissingError('the image is built by Docker with buildx or by buildah: install one of them');
}

async function driverOfDocker(): Promise<string | undefined> {
  return /^Driver:\s*(\S+)/m.exec((await outputOf('docker', 'buildx', 'inspect')) ?? '')?.[1];
}

async function writesArchives(driver: string): Promise<boolean> {
  if (driver !== 'docker') return ARCHIVE_DRIVERS.includes(driver);
  // With the image store of containerd, Docker's own driver writes archives too.
  const status = await outputOf('docker', 'info', '--format', '{{json .DriverStatus}}');
  return status?.includes('io.containerd.snapshotter.') ?? false;
}

/** Undefined if the command is missing or fails. */
async function outputOf(command: string, ...args: readonly string[]): Promise<string | undefined> {
  return await promisify(execFile)(command, [...args], { timeout: 30_000 }).then(
    ({ stdout }) => stdout,
    () => undefined,
  );
}
