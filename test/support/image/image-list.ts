import { isAlive } from '../control-plane/build-lock.ts';
import { buildah } from './buildah.ts';

const BUILD_PREFIX = 'localhost/build-';

/** Makes `name` a list of these images of the store. The caller holds the lock of the store. */
export async function assembleList(name: string, images: readonly string[]): Promise<void> {
  // A killed process can leave an empty or incomplete list of this name.
  await removeName(name);
  await buildah(['manifest', 'create', name]);
  for (const image of images) await buildah(['manifest', 'add', name, `containers-storage:${image}`]);
}

/** Removes the list or the image of this name, if there is one. The caller holds the lock of the store. */
export async function removeName(name: string): Promise<void> {
  // `rmi` does not find a list, it looks for an image of this machine's architecture inside the list.
  const isList = await buildah(['manifest', 'rm', name]).then(
    () => true,
    () => false,
  );
  if (isList) return;
  await buildah(['rmi', '--force', name]).catch((error: Error) => {
    if (!error.message.includes('not known')) throw error;
  });
}

/** A name for one build. It contains the id of this process. */
export const nameOfBuild = () => `${BUILD_PREFIX}${process.pid}-${Date.now()}`;

/** Removes images and containers of killed builds. The caller holds the lock of the store, so no other build uses them. */
export async function removeRemainsOfBuilds(): Promise<void> {
  await buildah(['rm', '--all']);
  const names = (await buildah(['images', '--format', '{{.Name}}:{{.Tag}}'])).split('\n');
  for (const name of names) {
    const [, pid] = name.startsWith(BUILD_PREFIX)
      ? (/^(\d+)-/.exec(name.slice(BUILD_PREFIX.length)) ?? [])
      : [];
    if (pid !== undefined && !isAlive(Number(pid))) await removeName(name);
  }
}
