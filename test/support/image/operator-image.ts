import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cachePath } from '../control-plane/tool-cache.ts';
import { type Architecture, type BaseSource, ensureBaseImage, HOST_ARCHITECTURE } from './base-image.ts';
import { buildah } from './buildah.ts';
import { type Engine, selectEngine } from './engine.ts';
import { assembleList, nameOfBuild, removeName, removeRemainsOfBuilds } from './image-list.ts';
import { inScratch } from './scratch.ts';
import { withStoreLock } from './store-lock.ts';

const execute = promisify(execFile);

export interface ImageBuild {
  /** The folder with the Dockerfile. */
  readonly context: string;
  readonly architectures: readonly Architecture[];
  /** `local` if not set: tests contact no image registry. */
  readonly base?: BaseSource;
  /** Name and tag inside the archive. */
  readonly name: string;
  /** Absolute path of the OCI archive to write. */
  readonly archive: string;
  /** The commit that the context is of, and when it was made: what is built of one commit is the same image. */
  readonly revision: string;
  readonly epochSeconds: number;
  readonly version: string;
  readonly report: (line: string) => void;
}

export interface BuiltImage {
  readonly engine: Engine;
  /** Of the archive's manifest or index. */
  readonly digest: string;
}

/** Builds the image with BuildKit if the selected builder of Docker can write an OCI archive, and with buildah otherwise. */
export async function buildImage(build: ImageBuild): Promise<BuiltImage> {
  const engine = await selectEngine(build.base ?? 'local');
  await rm(build.archive, { force: true });
  build.report(`building ${build.name} for ${build.architectures.join(' and ')} with ${engine}`);
  await (engine === 'docker' ? withDocker(build) : withStoreLock(build.report, () => withBuildah(build)));
  return { engine, digest: await digestOf(build.archive) };
}

const platforms = ({ architectures }: ImageBuild) =>
  architectures.map((architecture) => `linux/${architecture}`).join(',');

const buildArguments = ({ version, revision }: ImageBuild) => [
  '--build-arg',
  `VERSION=${version}`,
  '--build-arg',
  `REVISION=${revision}`,
];

async function withDocker(build: ImageBuild): Promise<void> {
  const output = `type=oci,dest=${build.archive},name=${build.name},rewrite-timestamp=true`;
  const args = ['--platform', platforms(build), ...buildArguments(build), '--output', output];
  // Attestations carry times.
  await execute('docker', ['buildx', 'build', '--provenance=false', '--sbom=false', ...args, build.context], {
    env: { ...process.env, SOURCE_DATE_EPOCH: String(build.epochSeconds) },
    maxBuffer: 2 ** 26,
  });
}

async function withBuildah(build: ImageBuild): Promise<void> {
  await removeRemainsOfBuilds();
  const dockerfile = await readFile(join(build.context, 'Dockerfile'), 'utf8');
  const [, name] = /^FROM (?:--\S+ )*(\S+)/m.exec(dockerfile) ?? [];
  if (name === undefined) throw new Error(`${build.context}/Dockerfile has no FROM`);
  const { architectures, report } = build;
  const base = await ensureBaseImage({ name, source: build.base ?? 'local', architectures, report });
  const list = nameOfBuild();
  const tags = architectures.map((architecture) => `${list}-${architecture}`);
  const target = `oci-archive:${build.archive}:${build.name}`;
  try {
    await inScratch(async (folder) => {
      const options = [
        '--build-context',
        `${name}=container-image://${base}`,
        ...(await npmOfThisMachine(folder)),
      ];
      for (const [index, architecture] of architectures.entries())
        await buildah([
          ...budArguments(build, architecture),
          ...options,
          '--tag',
          tags[index] ?? '',
          build.context,
        ]);
    });
    const [only = '', ...more] = tags;
    if (more.length === 0) return void (await buildah(['push', '-q', only, target]));
    // One build for all platforms would list them in the order in which they are finished.
    await assembleList(list, tags);
    await buildah(['manifest', 'push', '-q', '--all', list, target]);
  } finally {
    for (const made of [list, ...tags]) await removeName(made);
  }
}

function budArguments(build: ImageBuild, architecture: Architecture): readonly string[] {
  return [
    'bud',
    '--isolation=chroot',
    '--pull-never',
    `--timestamp=${build.epochSeconds}`,
    '--build-arg',
    `BUILDPLATFORM=linux/${HOST_ARCHITECTURE}`,
    ...buildArguments(build),
    '--platform',
    `linux/${architecture}`,
  ];
}

/** npm inside the build trusts what this machine trusts, and keeps what it downloads. Nothing of that gets into the image. */
async function npmOfThisMachine(folder: string): Promise<readonly string[]> {
  const cache = cachePath(process.env, 'npm');
  await mkdir(cache, { recursive: true });
  const volumes = [`${cache}:/root/.npm`];
  const authorities = process.env['NODE_EXTRA_CA_CERTS'];
  if (authorities !== undefined && authorities !== '') {
    const npmrc = join(folder, 'npmrc');
    await writeFile(npmrc, 'cafile=/etc/ssl/machine.pem\n');
    volumes.push(`${authorities}:/etc/ssl/machine.pem:ro`, `${npmrc}:/root/.npmrc:ro`);
  }
  return volumes.flatMap((volume) => ['--volume', volume]);
}

async function digestOf(archive: string): Promise<string> {
  const { stdout } = await execute('tar', ['-xOf', archive, 'index.json']);
  const [first] = JSON.parse(stdout).manifests as readonly { readonly digest: string }[];
  if (first === undefined) throw new Error(`${archive} holds no image`);
  return first.digest;
}
