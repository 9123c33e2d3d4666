import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildah } from './buildah.ts';
import { inScratch } from './scratch.ts';
import { withStoreLock } from './store-lock.ts';

/** Makes an image of one static program, which runs as user 65532, and writes it as an OCI archive. */
export async function buildStaticImage(program: string, name: string, archive: string): Promise<void> {
  const report = (line: string) => process.stderr.write(`${line}\n`);
  await withStoreLock(report, () =>
    inScratch(async (folder) => {
      await copyFile(program, join(folder, 'program'));
      const lines = [
        'FROM scratch',
        'COPY --chmod=0755 program /program',
        'USER 65532:65532',
        'ENTRYPOINT ["/program"]',
      ];
      await writeFile(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`);
      await buildah(['bud', '-q', '--isolation=chroot', '--timestamp=0', '-t', name, folder]);
      await rm(archive, { force: true });
      await buildah(['push', '-q', name, `oci-archive:${archive}:${name}`]);
    }),
  );
}
