import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ToolMissingError } from '../control-plane/tool-cache.ts';
import { buildah, hasImage } from './buildah.ts';

const execute = promisify(execFile);
const NPM_VERSION = '11.21.2';

export type Architecture = 'amd64' | 'arm64';

/** Architectures as npm's packages of Node.js name them. */
const NPM_ARCHITECTURES: Readonly<Record<Architecture, string>> = { amd64: 'x64', arm64: 'arm64' };

export const HOST_ARCHITECTURE: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

export interface BaseImage {
  /** `node:24.21.0-bookworm-slim`, as the Dockerfile names it. */
  readonly name: string;
  readonly architectures: readonly Architecture[];
  readonly report: (line: string) => void;
}

/**
 * Puts an image of the base's name into buildah's store. Where no registry of images can be reached, it is made from the Debian and
 * npm packages that the official image is made of. Such an image is for tests: for another architecture than the machine's it holds
 * Node.js alone, because Debian packages are configured by programs of that architecture.
 */
export async function ensureBaseImage({ name, architectures, report }: BaseImage): Promise<void> {
  const full = `docker.io/library/${name}`;
  const local = (architecture: Architecture) => `localhost/base-${architecture}:${name.split(':')[1]}`;
  const wanted = [...new Set([HOST_ARCHITECTURE, ...architectures])];
  const listed = await architecturesOf(full);
  if (wanted.every((architecture) => listed.includes(architecture))) return;
  if (await pull(full)) return;
  report(
    `no registry has ${name} for this machine: making an image of that name from Debian and npm packages`,
  );
  for (const architecture of wanted) {
    if (!(await hasImage(local(architecture)))) await makeBase(local(architecture), architecture, name);
  }
  // One name for all architectures is a list of images.
  if (listed.length > 0) await buildah(['rmi', full]);
  await buildah(['manifest', 'create', full]);
  for (const architecture of wanted)
    await buildah(['manifest', 'add', full, `containers-storage:${local(architecture)}`]);
}

/** Of a list of images that was made here; empty where there is none. */
async function architecturesOf(name: string): Promise<readonly string[]> {
  try {
    const { manifests } = JSON.parse(await buildah(['manifest', 'inspect', name])) as {
      readonly manifests: readonly { readonly platform: { readonly architecture: string } }[];
    };
    return manifests.map(({ platform }) => platform.architecture);
  } catch {
    return [];
  }
}

async function pull(name: string): Promise<boolean> {
  try {
    await lookup('registry-1.docker.io');
    await buildah(['pull', '--quiet', name]);
    return true;
  } catch {
    return false;
  }
}

async function makeBase(tag: string, architecture: Architecture, name: string): Promise<void> {
  const [, version = '', release = ''] = /^node:([\d.]+)-(\w+)-slim$/.exec(name) ?? [];
  const folder = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-base-'));
  const root = join(folder, 'root');
  try {
    if (architecture === HOST_ARCHITECTURE) await installDebian(root, release);
    await installNode(folder, root, version, architecture);
    const dockerfile = join(folder, 'Dockerfile');
    const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    await writeFile(
      dockerfile,
      `FROM scratch\nCOPY . /\nENV PATH=${path} NODE_VERSION=${version}\nCMD ["node"]\n`,
    );
    const platform = ['--platform', `linux/${architecture}`];
    // The same content is the same image, whenever it is made.
    await buildah([
      'bud',
      '-q',
      '--isolation=chroot',
      '--timestamp=0',
      ...platform,
      '-t',
      tag,
      '-f',
      dockerfile,
      root,
    ]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function installDebian(root: string, release: string): Promise<void> {
  const { stdout } = await execute('apt-get', ['indextargets', '--format', '$(SITE) $(RELEASE)']);
  const site = stdout
    .split('\n')
    .find((line) => line.endsWith(` ${release}`))
    ?.split(' ')[0];
  if (site === undefined)
    throw new ToolMissingError(`apt knows no mirror of Debian ${release}, which the base image is made of`);
  await execute('debootstrap', ['--variant=minbase', release, root, site], { maxBuffer: 2 ** 26 });
  for (const place of ['var/cache/apt', 'var/lib/apt/lists', 'var/log', 'var/cache/debconf']) {
    for (const entry of await readdir(join(root, place)))
      await rm(join(root, place, entry), { recursive: true, force: true });
  }
}

async function installNode(
  folder: string,
  root: string,
  version: string,
  architecture: Architecture,
): Promise<void> {
  const node = await unpack(folder, `node-linux-${NPM_ARCHITECTURES[architecture]}@${version}`);
  const npm = await unpack(folder, `npm@${NPM_VERSION}`);
  const bin = join(root, 'usr/local/bin');
  const modules = join(root, 'usr/local/lib/node_modules');
  await mkdir(bin, { recursive: true });
  await mkdir(modules, { recursive: true });
  await cp(join(node, 'bin/node'), join(bin, 'node'));
  await cp(npm, join(modules, 'npm'), { recursive: true });
  for (const name of ['npm', 'npx'])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(bin, name));
}

/** Resolves to the folder of the package's files. */
async function unpack(folder: string, specifier: string): Promise<string> {
  const target = await mkdtemp(join(folder, 'package-'));
  const { stdout } = await execute('npm', ['pack', '--silent', '--pack-destination', target, specifier]);
  await execute('tar', ['-xzf', join(target, stdout.trim().split('\n').at(-1) ?? ''), '-C', target]);
  return join(target, 'package');
}
