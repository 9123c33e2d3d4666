import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ToolMissingError } from '../control-plane/tool-cache.ts';
import { buildah, hasImage } from './buildah.ts';
import { assembleList } from './image-list.ts';
import { inScratch } from './scratch.ts';

const execute = promisify(execFile);
const NPM_VERSION = '11.21.2';

export type Architecture = 'amd64' | 'arm64';

/** Architectures as npm's packages of Node.js name them. */
const NPM_ARCHITECTURES: Readonly<Record<Architecture, string>> = { amd64: 'x64', arm64: 'arm64' };

export const HOST_ARCHITECTURE: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

/**
 * `local`: made from the Debian and npm packages that the official image is made of, for tests; it contacts no image registry.
 * `registry`: pulled by the name in the Dockerfile, from where the machine's configuration of short names says.
 */
export const BASE_SOURCES = ['local', 'registry'] as const;
export type BaseSource = (typeof BASE_SOURCES)[number];

export interface BaseImage {
  /** `node:24.21.0-bookworm-slim`, as the Dockerfile names it. */
  readonly name: string;
  readonly source: BaseSource;
  readonly architectures: readonly Architecture[];
  readonly report: (line: string) => void;
}

/**
 * Puts the base image into the store, and resolves to the name of the list of its architectures. The lists of the two sources have
 * different names. The caller holds the lock of the store.
 *
 * A local base for another architecture than the machine's has only Node.js, because programs of that architecture configure Debian
 * packages.
 */
export async function ensureBaseImage({ name, source, architectures, report }: BaseImage): Promise<string> {
  const list = `localhost/base-list-${source}:${tagOf(name)}`;
  const images: string[] = [];
  for (const architecture of new Set([HOST_ARCHITECTURE, ...architectures]))
    images.push(await (source === 'local' ? localBase : pulledBase)(name, architecture, report));
  await assembleList(list, images);
  return list;
}

type ProvideBase = (
  name: string,
  architecture: Architecture,
  report: (line: string) => void,
) => Promise<string>;

const localBase: ProvideBase = async (name, architecture, report) => {
  const image = `localhost/base-${architecture}:${tagOf(name)}`;
  if (await hasImage(image)) return image;
  report(`making a base image for ${architecture} from Debian and npm packages`);
  await makeBase(image, architecture, name);
  return image;
};

const pulledBase: ProvideBase = async (name, architecture, report) => {
  const image = `localhost/base-pulled-${architecture}:${tagOf(name)}`;
  try {
    const id = await buildah(['pull', '--quiet', '--policy=always', '--arch', architecture, name]);
    await buildah(['tag', id.trim(), image]);
    report(`base image ${name} for ${architecture}: ${id.trim()}`);
  } catch (error) {
    throw new Error(
      `cannot pull ${name} for ${architecture}: ${(error as Error).message}\nTo build an image for tests without a registry, pass --base local.`,
    );
  }
  return image;
};

function tagOf(name: string): string {
  return name.split(':')[1] ?? 'latest';
}

async function makeBase(tag: string, architecture: Architecture, name: string): Promise<void> {
  const [, version = '', release = ''] = /^node:([\d.]+)-(\w+)-slim$/.exec(name) ?? [];
  await inScratch(async (folder) => {
    const root = join(folder, 'root');
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
  });
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
