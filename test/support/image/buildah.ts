import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cachePath } from '../control-plane/tool-cache.ts';

const execute = promisify(execFile);
const OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024;

/** Without the option buildah leaves a mount of its store on the machine. */
const DRIVER = ['--storage-driver', 'overlay', '--storage-opt', 'overlay.skip_mount_home=true'];

/** Runs buildah on a store of images in the user's cache folder; resolves to its standard output. */
export async function buildah(args: readonly string[]): Promise<string> {
  const folder = cachePath(process.env, 'buildah');
  await mkdir(folder, { recursive: true });
  const store = ['--root', join(folder, 'root'), '--runroot', join(folder, 'runroot')];
  try {
    const { stdout } = await execute('buildah', [...store, ...DRIVER, ...args], {
      maxBuffer: OUTPUT_LIMIT_BYTES,
    });
    return stdout;
  } catch (error) {
    const { stderr = '' } = error as { readonly stderr?: string };
    throw new Error(`buildah ${args[0]}: ${stderr.trim().split('\n').slice(-25).join('\n') || error}`);
  }
}

/** Whether the store has an image of this name. */
export async function hasImage(name: string): Promise<boolean> {
  return await buildah(['images', '--quiet', name]).then(
    () => true,
    () => false,
  );
}
