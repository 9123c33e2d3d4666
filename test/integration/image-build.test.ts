import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ToolMissingError } from '../support/control-plane/tool-cache.ts';
import { requireTool } from '../support/external-tool.ts';
import { type BaseSource, ensureBaseImage } from '../support/image/base-image.ts';
import { buildah } from '../support/image/buildah.ts';
import { checkedOutCommit } from '../support/image/commit.ts';
import { selectEngine } from '../support/image/engine.ts';
import { assembleList, nameOfBuild, removeRemainsOfBuilds } from '../support/image/image-list.ts';
import { buildImage } from '../support/image/operator-image.ts';
import { inScratch } from '../support/image/scratch.ts';
import { withStoreLock } from '../support/image/store-lock.ts';

// Shell, and modes as tar lists them. cspell:ignore esac extfs rwxr drwxr

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const silent = () => undefined;

let folder: string;

/** Each test has a store of its own. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'image-build-'));
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

/** Puts shell scripts first on the PATH. */
async function fakeTools(tools: Readonly<Record<string, string>>, rest = ''): Promise<void> {
  const bin = join(folder, 'bin');
  await rm(bin, { recursive: true, force: true });
  await mkdir(bin);
  for (const [name, script] of Object.entries(tools)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  vi.stubEnv('PATH', rest === '' ? bin : `${bin}:${rest}`);
}

const needsBuildah = async (skip: (reason: string) => void) =>
  await requireTool(skip, async () => {
    await run('buildah', ['--version']).catch(() => {
      throw new ToolMissingError('install buildah');
    });
    if (process.getuid?.() !== 0) throw new ToolMissingError('buildah needs root');
  });

/** An image of one file. */
async function tinyImage(name: string, architecture: string): Promise<void> {
  const context = join(folder, architecture);
  await mkdir(context);
  await writeFile(join(context, 'file'), architecture);
  await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY file /file\n');
  await buildah(['bud', '-q', '--timestamp=0', '--platform', `linux/${architecture}`, '-t', name, context]);
}

async function architecturesOf(list: string): Promise<readonly string[]> {
  const { manifests } = JSON.parse(await buildah(['manifest', 'inspect', list])) as {
    readonly manifests: readonly { readonly platform: { readonly architecture: string } }[];
  };
  return manifests.map(({ platform }) => platform.architecture);
}

describe('the image store', () => {
  it('assembles a list of images after a killed process left an empty one', async ({ skip }) => {
    await needsBuildah(skip);
    await tinyImage('localhost/one', 'amd64');
    await tinyImage('localhost/two', 'arm64');
    await buildah(['manifest', 'create', 'localhost/list']);
    // The second list replaces a complete one.
    for (const _ of [1, 2]) {
      await assembleList('localhost/list', ['localhost/one', 'localhost/two']);
      expect(await architecturesOf('localhost/list')).toEqual(['amd64', 'arm64']);
    }
    await expect(buildah(['inspect', 'localhost/one'])).resolves.toContain('amd64');
  });

  it('removes the images and containers of killed builds, and keeps those of running ones', async ({
    skip,
  }) => {
    await needsBuildah(skip);
    const ended = spawn('true');
    await once(ended, 'exit');
    await buildah(['manifest', 'create', `localhost/build-${ended.pid}-1`]);
    const mine = nameOfBuild();
    await buildah(['manifest', 'create', mine]);
    await buildah(['from', 'scratch']);
    await removeRemainsOfBuilds();
    const names = (await buildah(['images', '--format', '{{.Name}}'])).trim().split('\n');
    expect(names).toEqual([mine]);
    expect(await buildah(['containers', '--quiet'])).toBe('');
  });

  it('is used by one build at a time', async () => {
    const events: string[] = [];
    const build = (name: string) =>
      withStoreLock(silent, async () => {
        events.push(`${name} starts`);
        await delay(300);
        events.push(`${name} ends`);
      });
    await Promise.all([build('a'), build('b')]);
    const [first = ''] = events;
    const [one, other] = first.startsWith('a') ? ['a', 'b'] : ['b', 'a'];
    expect(events).toEqual([`${one} starts`, `${one} ends`, `${other} starts`, `${other} ends`]);
  });
});

describe('the temporary folder of a build', () => {
  it('is removed by the next build after its owner was killed', async () => {
    vi.stubEnv('TMPDIR', folder);
    const script = `import { inScratch } from ${JSON.stringify(join(root, 'test/support/image/scratch.ts'))};
      await inScratch(async (folder) => { console.log(folder); await new Promise((resolve) => setTimeout(resolve, 60_000)); });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const left = line.toString().trim();
    await inScratch(async () => expect(existsSync(left)).toBe(true));
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(left)).toBe(true);
    await inScratch(async (mine) => {
      expect(existsSync(left)).toBe(false);
      expect(existsSync(mine)).toBe(true);
    });
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('the base image', () => {
  const log = () => readFile(join(folder, 'log'), 'utf8');
  const ensure = (source: BaseSource) =>
    ensureBaseImage({ name: 'node:1.2.3-x-slim', source, architectures: ['arm64'], report: silent });

  it('is made without a registry unless the caller asks for one', async () => {
    await fakeTools({ buildah: `echo "$@" >> ${folder}/log` }, SYSTEM_PATH);
    const local = await ensure('local');
    expect(await log()).not.toContain(' pull ');
    const pulled = await ensure('registry');
    expect(await log()).toMatch(/ pull .*--arch arm64 node:1\.2\.3-x-slim\n/);
    expect(pulled).not.toBe(local);
  });

  it('names the option for the local base if the registry cannot be reached', async () => {
    await fakeTools({ buildah: 'case "$*" in *" pull "*) echo no route >&2; exit 1;; esac' });
    await expect(ensure('registry')).rejects.toThrow(
      /cannot pull node:1\.2\.3-x-slim.*no route.*\n.*--base local/,
    );
  });

  it('has no registry host in the code of the build', async () => {
    const code = join(root, 'test/support/image');
    for (const file of await readdir(code))
      expect(await readFile(join(code, file), 'utf8'), file).not.toMatch(/docker\.io|quay\.io|dns/);
  });
});

describe('the build engine', () => {
  const docker = (driver: string, status = '[]') =>
    `case "$1" in buildx) printf 'Name: default\\nDriver: ${driver}\\n';; info) echo '${status}';; esac`;
  const containerd = '[["driver-type","io.containerd.snapshotter.v1"]]';

  it.each([
    ['docker-container', '[]', 'docker'],
    ['kubernetes', '[]', 'docker'],
    ['remote', '[]', 'docker'],
    ['docker', containerd, 'docker'],
    ['docker', '[["Backing Filesystem","extfs"]]', 'buildah'],
  ])('for the driver %s with the status %s is %s', async (driver, status, engine) => {
    await fakeTools({ docker: docker(driver, status), buildah: 'exit 0' });
    expect(await selectEngine('registry')).toBe(engine);
  });

  it('is buildah for the local base, whatever Docker can do', async () => {
    await fakeTools({ docker: docker('docker-container'), buildah: 'exit 0' });
    expect(await selectEngine('local')).toBe('buildah');
  });

  it('is missing with a remedy if only the default driver of Docker exists', async () => {
    await fakeTools({ docker: docker('docker') });
    await expect(selectEngine('registry')).rejects.toThrow('docker buildx create --use');
    await fakeTools({});
    await expect(selectEngine('registry')).rejects.toThrow('install one of them');
  });
});

describe('the commit of an image', () => {
  it('is refused while a file of the image differs from it', async () => {
    const git = (...args: string[]) =>
      run('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], { cwd: folder });
    await mkdir(join(folder, 'src'));
    for (const path of ['Dockerfile', 'src/main.ts', 'README.md']) await writeFile(join(folder, path), '1\n');
    await writeFile(join(folder, '.dockerignore'), '*\n!src\n');
    await git('init', '-q');
    await git('add', '.');
    await git('commit', '-q', '-m', 'One');
    const { stdout } = await git('rev-parse', 'HEAD');
    await writeFile(join(folder, 'README.md'), '2\n');
    expect((await checkedOutCommit(folder)).revision).toBe(stdout.trim());
    await writeFile(join(folder, 'src/new.ts'), '');
    await expect(checkedOutCommit(folder)).rejects.toThrow(/git stash.*\n.*src\/new\.ts/);
    await rm(join(folder, 'src/new.ts'));
    await writeFile(join(folder, 'Dockerfile'), '2\n');
    await expect(checkedOutCommit(folder)).rejects.toThrow('Dockerfile');
  });
});

describe('the final stage of the Dockerfile', () => {
  /** The final stage on an empty base, with files in place of the build stage. */
  async function contextWithUmask(umask: string): Promise<string> {
    const context = join(folder, `umask-${umask}`);
    const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8');
    const final = dockerfile
      .slice(dockerfile.lastIndexOf('\nFROM '))
      .replace(/FROM .*/, 'FROM --platform=$TARGETPLATFORM empty:1');
    const stage = 'FROM --platform=$BUILDPLATFORM empty:1 AS build\nCOPY dist /app/dist\nCOPY bin /app/bin';
    const commands = `umask ${umask}; mkdir -p ${context}/dist; cd ${context}; mkdir bin; echo 1 > dist/main.js
      ln -s /app/dist/main.js bin/gateway-upstream-operator
      cat ${join(root, 'LICENSE')} > LICENSE; cat ${join(root, 'package.json')} > package.json`;
    await run('sh', ['-ec', commands]);
    await writeFile(join(context, 'Dockerfile'), `${stage}\n${final}`);
    return context;
  }

  it('makes the same image, which any user can read, whatever the umask of the context', async ({ skip }) => {
    await needsBuildah(skip);
    for (const architecture of ['amd64', 'arm64'])
      await tinyImage(`localhost/base-${architecture}:1`, architecture);
    const digests: string[] = [];
    for (const umask of ['022', '077']) {
      const archive = join(folder, `${umask}.tar`);
      const context = await contextWithUmask(umask);
      const built = { context, architectures: ['amd64', 'arm64'], name: 'a:1', archive } as const;
      const commit = { version: '1', revision: 'abc', epochSeconds: 1_700_000_000 };
      digests.push((await buildImage({ ...built, ...commit, report: silent })).digest);
      await run('tar', ['-xf', archive, '-C', context]);
      expect(await filesOf(join(context, 'blobs/sha256'))).toEqual({
        'app/LICENSE': '-rw-r--r--',
        'app/package.json': '-rw-r--r--',
        'app/dist/main.js': '-rwxr-xr-x',
        'app/dist/': 'drwxr-xr-x',
        'app/': 'drwxr-xr-x',
      });
    }
    expect(digests[1]).toBe(digests[0]);
  });

  /** Path and mode of everything below /app in the layers. */
  async function filesOf(blobs: string): Promise<Readonly<Record<string, string>>> {
    const found: Record<string, string> = {};
    for (const blob of await readdir(blobs)) {
      const listed = await run('tar', ['-tvf', join(blobs, blob)]).catch(() => ({ stdout: '' }));
      for (const line of listed.stdout.split('\n')) {
        const [mode = '', , , , , path = ''] = line.split(/\s+/);
        if (/^(\.\/)?app\//.test(path)) found[path.replace('./', '')] = mode;
      }
    }
    return found;
  }
});
