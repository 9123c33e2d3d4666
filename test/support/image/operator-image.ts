import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cachePath, ToolMissingError } from '../control-plane/tool-cache.ts';
import { type Architecture, ensureBaseImage, HOST_ARCHITECTURE } from './base-image.ts';
import { buildah } from './buildah.ts';

const execute = promisify(execFile);

export interface ImageBuild {
  /** The folder with the Dockerfile. */
  readonly context: string;
  readonly architectures: readonly Architecture[];
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
  readonly engine: 'docker' | 'buildah';
  /** Of the archive's manifest or index. */
  readonly digest: string;
}

/** Builds the image with Docker's BuildKit where there is a Docker engine, and with buildah elsewhere. */
export async function buildImage(build: ImageBuild): Promise<BuiltImage> {
  const engine = (await succeeds('docker', ['buildx', 'inspect'])) ? 'docker' : 'buildah';
  if (engine === 'buildah' && !(await succeeds('buildah', ['--version']))) {
    throw new ToolMissingError(
      'an image is built by a Docker engine with buildx, or by buildah: install one',
    );
  }
  await rm(build.archive, { force: true });
  build.report(`building ${build.name} for ${build.architectures.join(' and ')} with ${engine}`);
  await (engine === 'docker' ? withDocker(build) : withBuildah(build));
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
  const dockerfile = await readFile(join(build.context, 'Dockerfile'), 'utf8');
  const [, base] = /^FROM (?:--\S+ )*(\S+)/m.exec(dockerfile) ?? [];
  if (base === undefined) throw new Error(`${build.context}/Dockerfile has no FROM`);
  await ensureBaseImage({ name: base, architectures: build.architectures, report: build.report });
  const folder = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-image-'));
  const list = `localhost/build-${process.pid}-${Date.now()}`;
  const tags = build.architectures.map((architecture) => `${list}-${architecture}`);
  const target = `oci-archive:${build.archive}:${build.name}`;
  try {
    const npm = await npmOfThisMachine(folder);
    for (const [index, architecture] of build.architectures.entries())
      await buildah([
        ...budArguments(build, architecture),
        ...npm,
        '--tag',
        tags[index] ?? '',
        build.context,
      ]);
    const [only = '', ...more] = tags;
    if (more.length === 0) return void (await buildah(['push', '-q', only, target]));
    // One build for all platforms would list them in the order in which they are finished.
    await buildah(['manifest', 'create', list]);
    for (const tag of tags) await buildah(['manifest', 'add', list, `containers-storage:${tag}`]);
    await buildah(['manifest', 'push', '-q', '--all', list, target]);
  } finally {
    for (const name of [list, ...tags]) await buildah(['rmi', '-f', name]).catch(() => undefined);
    // Images of builds that failed.
    await buildah(['rmi', '--prune']).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
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

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return await execute(command, [...args], { timeout: 30_000 }).then(
    () => true,
    () => false,
  );
}
