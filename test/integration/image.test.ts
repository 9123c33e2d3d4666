import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { noticeOf } from '../../rolldown.config.ts';
import { configSchema } from '../../src/config/config.ts';
import { nodeVersionProblem } from '../../src/node-version.ts';
import { writeKubeconfig } from '../support/control-plane/cluster-access.ts';
import { ToolMissingError } from '../support/control-plane/tool-cache.ts';
import { eventually } from '../support/eventually.ts';
import { requireTool } from '../support/external-tool.ts';
import { installCrds, installRbac } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';

const run = promisify(execFile);
const cluster = await sharedControlPlane();
const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFile(join(root, path), 'utf8');

/** Puts the program under its own name into a folder of the PATH. */
const LINK = 'mkdir bin && ln -s /app/dist/main.js bin/gateway-upstream-operator';
const PERMISSION = 'rm dist/*.map && chmod 755 dist/main.js';

interface Instruction {
  readonly name: string;
  readonly text: string;
}

/** The instructions of each stage, the first of which is FROM. */
function stagesOf(dockerfile: string): readonly (readonly Instruction[])[] {
  const stages: Instruction[][] = [];
  const lines = dockerfile.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n\s*/g, '');
  for (const line of lines.split('\n').filter((text) => text.trim() !== '')) {
    const [, name = '', text = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    if (name === 'FROM') stages.push([]);
    stages.at(-1)?.push({ name, text });
  }
  return stages;
}

/** A Node.js on the PATH that cannot run the program, such as that of the operating system. */
async function olderNode(): Promise<{ readonly path: string; readonly version: string } | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'node');
    const said = await run(path, ['--version']).catch(() => undefined);
    const version = said?.stdout.trim().replace(/^v/, '');
    if (version !== undefined && nodeVersionProblem(version) !== undefined) return { path, version };
  }
  return undefined;
}

const only = (stage: readonly Instruction[] | undefined, name: string) =>
  (stage ?? []).filter((instruction) => instruction.name === name).map(({ text }) => text);

/** What COPY takes, without its options and its destination. */
const copied = (text: string) =>
  text
    .split(/\s+/)
    .filter((word) => !word.startsWith('--'))
    .slice(0, -1);

/** Whether `path` is part of the build's context: the last pattern that matches it or a folder above it decides. */
function isInContext(path: string, dockerignore: string): boolean {
  const parts = path.split('/');
  const above = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
  let inside = true;
  for (const line of dockerignore.split('\n').map((text) => text.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    const pattern = line.replace(/^!/, '').replace(/\/$/, '');
    const expression = new RegExp(
      `^${pattern.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*')}$`,
    );
    if (above.some((prefix) => expression.test(prefix))) inside = line.startsWith('!');
  }
  return inside;
}

interface Manifest {
  readonly license: string;
  readonly description: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

describe('Dockerfile', () => {
  it('copies only what exists and what .dockerignore lets through', async () => {
    const [build] = stagesOf(await read('Dockerfile'));
    const dockerignore = await read('.dockerignore');
    const sources = only(build, 'COPY').flatMap(copied);
    expect(sources).toEqual(
      expect.arrayContaining(['package.json', 'package-lock.json', '.npmrc', 'rolldown.config.ts', 'src']),
    );
    for (const source of sources) {
      const files = (await stat(join(root, source))).isDirectory()
        ? (await readdir(join(root, source), { recursive: true })).map((path) => `${source}/${path}`)
        : [source];
      expect(files.length, source).toBeGreaterThan(0);
      expect(files.filter((path) => !isInContext(path, dockerignore))).toEqual([]);
    }
    for (const path of [
      'node_modules/zod/package.json',
      '.git/config',
      'dist/main.js',
      'test/a.ts',
      '.env',
    ]) {
      expect(isInContext(path, dockerignore), path).toBe(false);
    }
  });

  it('takes from the build stage only what this test makes by the same commands', async () => {
    const stages = stagesOf(await read('Dockerfile'));
    expect(stages).toHaveLength(2);
    const [build, image] = stages;
    expect(only(build, 'WORKDIR')).toEqual(['/app']);
    expect(only(build, 'RUN')).toEqual([
      'npm ci --ignore-scripts',
      `npx rolldown -c rolldown.config.ts && ${PERMISSION}`,
      LINK,
    ]);
    expect(only(image, 'COPY').flatMap(copied)).toEqual([
      'LICENSE',
      'package.json',
      '/app/dist',
      '/app/bin/',
    ]);
    expect(only(image, 'COPY').at(-1)).toBe('--from=build /app/bin/ /usr/local/bin/');
  });

  it('runs the build once, on the platform of the machine, and only copies files for other platforms', async () => {
    const [build, image] = stagesOf(await read('Dockerfile'));
    expect(only(build, 'FROM')[0]).toMatch(/^--platform=\$BUILDPLATFORM /);
    expect(only(image, 'FROM')[0]).toMatch(/^--platform=\$TARGETPLATFORM /);
    expect(only(image, 'RUN')).toEqual([]);
  });

  it('makes an image that is small, not root, labeled, and of the node that the tests run with', async () => {
    const [, image] = stagesOf(await read('Dockerfile'));
    const manifest = JSON.parse(await read('package.json')) as Manifest;
    const bases = stagesOf(await read('Dockerfile')).flatMap((stage) => only(stage, 'FROM'));
    const base = `node:${manifest.devDependencies['node']}-bookworm-slim`;
    expect(bases).toEqual([
      `--platform=$BUILDPLATFORM ${base} AS build`,
      `--platform=$TARGETPLATFORM ${base}`,
    ]);
    expect(only(image, 'USER')).toEqual(['65532:65532']);
    expect(only(image, 'EXPOSE')).toEqual([String(configSchema.parse({}).ops.port)]);
    expect(only(image, 'ENV')).toEqual(['NODE_ENV=production']);
    const labels = new Map(
      only(image, 'LABEL').flatMap((text) =>
        [...text.matchAll(/([\w.]+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value] as const),
      ),
    );
    expect(labels.get('org.opencontainers.image.title')).toBe('gateway-upstream-operator');
    expect(labels.get('org.opencontainers.image.licenses')).toBe(manifest.license);
    expect(labels.get('org.opencontainers.image.description')).not.toBe('');
    const release = await read('docs/release.md');
    for (const [label, argument] of [
      ['version', 'VERSION'],
      ['revision', 'REVISION'],
    ] as const) {
      expect(labels.get(`org.opencontainers.image.${label}`)).toBe(`\${${argument}}`);
      expect(release).toContain(`--build-arg ${argument}=`);
    }
  });
});

describe('the layout of the image', () => {
  // Another user than the test's own must be able to reach all of it, node too, wherever the repository is.
  let folder: string;
  let app: string;
  let node: string;
  const user = process.getuid?.() === 0 ? { uid: 65532, gid: 65532 } : {};

  /** Every file, to see that none comes or goes. */
  const files = async () => (await readdir(app, { recursive: true })).sort();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'image-'));
    await chmod(folder, 0o755);
    app = join(folder, 'app');
    node = join(folder, 'bin', 'node');
    await mkdir(app);
    await mkdir(dirname(node));
    await copyFile(process.execPath, node);
    await copyFile(join(root, 'test/support/leash.mjs'), join(folder, 'leash.mjs'));
    for (const file of ['package.json', 'LICENSE']) await cp(join(root, file), join(app, file));
    const rolldown = join(root, 'node_modules/.bin/rolldown');
    await run(process.execPath, [rolldown, '-c', 'rolldown.config.ts', '-d', join(app, 'dist')], {
      cwd: root,
    });
    for (const command of [PERMISSION, LINK])
      await run('sh', ['-c', command.replaceAll('/app/', `${app}/`)], { cwd: app });
    await run('chmod', ['-R', 'a+rX,a-w', app]);
  });

  afterAll(async () => {
    if (folder === undefined) return;
    await run('chmod', ['-R', 'u+w', folder]);
    await rm(folder, { recursive: true, force: true });
  });

  /** Starts what ENTRYPOINT says, with nothing of the test's own environment. */
  const start = async (args: readonly string[]) => {
    const [, image] = stagesOf(await read('Dockerfile'));
    const entrypoint = JSON.parse(only(image, 'ENTRYPOINT')[0] ?? '[]') as readonly string[];
    const [program, ...rest] = entrypoint.map((word) => word.replace(/^\/app(?=\/)/, app));
    expect(program).toBe('node');
    const child = spawn(node, ['--import', join(folder, 'leash.mjs'), ...rest, ...args], {
      ...user,
      cwd: app,
      env: { PATH: dirname(node), POD_NAMESPACE: 'from-the-environment' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        output[name] += chunk;
      });
    }
    const ended = once(child, 'close').then(([code]) => code as number | null);
    return { child, output, ended } satisfies {
      child: ChildProcess;
      output: object;
      ended: Promise<unknown>;
    };
  };

  it('needs no node_modules: the program imports modules of Node.js and files beside it only', async () => {
    const programs = (await files()).filter((path) => path.endsWith('.js'));
    expect(programs.length).toBeGreaterThan(1);
    expect((await files()).filter((path) => /node_modules|\.map$/.test(path))).toEqual([]);
    for (const path of programs) {
      const text = await readFile(join(app, path), 'utf8');
      const imported = [...text.matchAll(/^(?:import|export)\b[^'";]*\bfrom\s*"([^"]+)"/gm)];
      const packages = imported
        .map(([, name = '']) => name)
        .filter((name) => !name.startsWith('.') && !isBuiltin(name));
      expect(packages, path).toEqual([]);
    }
  });

  it('carries the license of every package that the program contains', async () => {
    const notices = await readFile(join(app, 'dist/THIRD-PARTY-NOTICES.txt'), 'utf8');
    const { dependencies } = JSON.parse(await read('package.json')) as Manifest;
    for (const [name, version] of Object.entries(dependencies))
      expect(notices).toContain(`\n${name} ${version} (`);
    for (const notice of `\n${notices}`.split(`${'-'.repeat(80)}\n`).filter((text) => text.trim() !== ''))
      expect(notice.length, notice).toBeGreaterThan(200);
    await expect(stat(join(app, 'LICENSE'))).resolves.toBeDefined();
  });

  it('fails the build for a package that has no license file', async () => {
    const bare = await mkdtemp(join(tmpdir(), 'bare-'));
    onTestFinished(async () => await rm(bare, { recursive: true, force: true }));
    await writeFile(join(bare, 'package.json'), '{"name":"bare","version":"1.0.0","license":"MIT"}');
    await writeFile(join(bare, 'NOTICE'), 'A notice is not a license.');
    expect(() => noticeOf(bare)).toThrow('bare 1.0.0 (MIT) has no license file');
    await writeFile(join(bare, 'UNLICENSE'), 'This is free and unencumbered software.');
    expect(noticeOf(bare)).toContain('unencumbered');
  });

  it('answers --version with the version of package.json', async () => {
    const { version } = JSON.parse(await read('package.json')) as { readonly version: string };
    const { output, ended } = await start(['--version']);
    expect(await ended).toBe(0);
    expect(output.stdout).toBe(`${version}\n`);
  });

  it('answers --help', async () => {
    const { output, ended } = await start(['--help']);
    expect(await ended).toBe(0);
    expect(output.stdout).toContain('gateway-upstream-operator');
    expect(output.stdout).toContain('--config');
    expect(output.stderr).toBe('');
  });

  it('has the program under its own name on the PATH, for kubectl exec', async () => {
    const PATH = [join(app, 'bin'), dirname(node)].join(delimiter);
    const { stdout, stderr } = await run('/usr/bin/env', ['gateway-upstream-operator', '--help'], {
      ...user,
      cwd: '/',
      env: { PATH },
    });
    expect(stdout).toContain('--config');
    expect(stderr).toBe('');
  });

  it('ends with one line that names the required version where Node.js is older', async ({ skip }) => {
    const older = await olderNode();
    await requireTool(skip, async () => {
      if (older === undefined) throw new ToolMissingError('there is no older Node.js on the PATH');
    });
    if (older === undefined) return;
    const ended = run(older.path, [join(app, 'dist/main.js'), 'install']);
    await expect(ended).rejects.toMatchObject({
      code: 1,
      stdout: '',
      stderr: `${nodeVersionProblem(older.version)}\n`,
    });
  });

  it.each([
    ['a wrong flag', ['run', '--confg', 'a.yaml'], '--confg'],
    ['a wrong command', ['start'], 'start'],
    ['a configuration that is not there', ['run', '--config', '/nowhere.yaml'], '/nowhere.yaml'],
  ])('ends with 2 for %s, and names it', async (_, args, says) => {
    const { output, ended } = await start(args);
    expect(await ended).toBe(2);
    expect(output.stderr).toContain(says);
    expect(output.stdout).toBe('');
  });

  it('runs from a read-only folder as another user, answers the probes, and ends with 0 on SIGTERM', async () => {
    await installCrds(cluster);
    const namespace = await cluster.newNamespace('image');
    const token = await installRbac(cluster, namespace);
    const kubeconfig = join(folder, 'kubeconfig');
    const config = join(folder, 'config.yaml');
    const { server, caPem } = cluster;
    await writeKubeconfig(kubeconfig, { server, caPem, user: { name: 'image', token, namespace } });
    if (user.uid !== undefined) await chown(kubeconfig, user.uid, user.gid);
    await writeFile(
      config,
      stringify({ kubeconfig, operatorNamespace: namespace, ops: { host: '127.0.0.1', port: 0 } }),
    );
    const before = await files();

    const { child, output, ended } = await start(['run', '--config', config]);
    const probe = async (path: string) => {
      if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}: ${output.stderr}`);
      const port = /"opsPort":(\d+)/.exec(output.stdout)?.[1];
      if (port === undefined) throw new Error(`does not listen yet: ${output.stdout}${output.stderr}`);
      return (await fetch(`http://127.0.0.1:${port}${path}`)).status;
    };
    await eventually(async () => expect(await probe('/livez')).toBe(200));
    await eventually(async () => expect(await probe('/readyz')).toBe(200));

    child.kill('SIGTERM');
    expect(await ended, output.stdout).toBe(0);
    expect(output.stderr).toBe('');
    expect(await files()).toEqual(before);
  });
});
