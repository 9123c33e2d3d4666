import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureHelm } from '../support/chart/helm-binary.ts';
import { type Binaries, ensureBinaries } from '../support/control-plane/binaries.ts';
import { eventually } from '../support/eventually.ts';

let scratch: string;
let env: Record<string, string>;
let lines: string[];
const report = (line: string) => lines.push(line);

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'binaries-test-'));
  lines = [];
  await mkdir(join(scratch, 'bin'));
  await writeFile(join(scratch, 'bin', 'go'), STAND_IN_GO, { mode: 0o755 });
  env = {
    HOME: scratch,
    PATH: `${join(scratch, 'bin')}:/usr/bin:/bin`,
    XDG_CACHE_HOME: join(scratch, 'cache'),
    STAND_IN_LOG: join(scratch, 'builds'),
    STAND_IN_GATE: join(scratch, 'gate'),
    // Downloads are off, because these tests count builds.
    KUBERNETES_RELEASE_URL: '',
  };
});

afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

const openGate = () => writeFile(join(scratch, 'gate'), '');
const builds = async () => (await readFile(join(scratch, 'builds'), 'utf8')).split('\n').length - 1;
const cached = () => readdir(join(scratch, 'cache', 'gateway-upstream-operator', 'control-plane'));

describe('ensureBinaries', () => {
  it('builds once for concurrent callers, and not again later', async () => {
    const asked = [1, 2, 3].map(() => ensureBinaries({ env, report }));
    await eventually(() => expect(lines).toHaveLength(3));
    expect(lines.filter((line) => line.startsWith('building etcd, '))).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith(`waiting for process ${process.pid}, `))).toHaveLength(2);
    await openGate();
    const [binaries, ...others] = await Promise.all(asked);
    expect(others).toEqual([binaries, binaries]);
    expect(binaries?.etcd).toMatch(
      /\/cache\/gateway-upstream-operator\/control-plane\/[0-9a-f]{16}\/server$/,
    );
    expect(lines.at(-1)).toMatch(/^built in \d+ s: /);
    expect(await ensureBinaries({ env: { ...env, PATH: '' }, report })).toEqual(binaries);
    expect(await builds()).toBe(1);
    expect(await cached()).toHaveLength(1);
  });

  it('takes over after a process was killed during a build, and rebuilds removed files', async () => {
    const module = new URL('../support/control-plane/binaries.ts', import.meta.url).href;
    const source = `import { ensureBinaries } from ${JSON.stringify(module)};
      await ensureBinaries({ env: process.env, report: console.log });`;
    const builder = spawn(process.execPath, ['--input-type=module', '--eval', source], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    expect(await firstLine(builder)).toContain('Kubernetes v1.');
    await eventually(async () => expect(await builds()).toBe(1));
    builder.kill('SIGKILL');
    await once(builder, 'exit');
    expect((await cached()).map((name) => name.split('.').at(-1)).toSorted()).toEqual(['lock', 'tmp']);

    await openGate();
    const binaries = await ensureBinaries({ env, report });
    expect(await builds()).toBe(2);
    expect(await cached()).toHaveLength(1);
    await rm(binaries.kubectl);
    expect(await ensureBinaries({ env, report })).toEqual(binaries);
    expect(await builds()).toBe(3);
    expect((await stat(binaries.kubectl)).isFile()).toBe(true);
  });

  it('shows the end of the output of a failed build, and leaves no partial result', async () => {
    const failure = ensureBinaries({ env: { ...env, STAND_IN_FAILS: 'yes' }, report });
    await expect(failure).rejects.toThrow(/failed after \d+ s:\nmain.go:7: no space left on device$/);
    expect(await cached()).toEqual([]);
  });

  it('reports in one line that Go is missing or cannot be used', async () => {
    const missing = await ensureBinaries({ env: { ...env, PATH: '' }, report }).catch(String);
    expect(missing).toBe(
      'ToolMissingError: Go 1.26 or newer is needed once to build the control plane, and PATH contains no go: ' +
        'install it from https://go.dev/dl, or let KUBEBUILDER_ASSETS name a folder of ready binaries',
    );
    const old = await ensureBinaries({ env: { ...env, STAND_IN_OLD: 'yes' }, report }).catch(String);
    expect(old).toMatch(
      /^ToolMissingError: Go 1\.26 or newer .* \(go said: go: go\.mod requires go >= 1\.26\.0\)$/,
    );
    expect(lines).toEqual([]);
  });

  it('builds the version in KUBERNETES_VERSION, and lists the available versions', async () => {
    await openGate();
    const older = await ensureBinaries({ env: { ...env, KUBERNETES_VERSION: '1.34' }, report });
    expect(lines[0]).toContain('(Kubernetes v1.34.');
    expect(older.etcd).toContain('/gateway-upstream-operator/control-plane-1.34/');
    await expect(ensureBinaries({ env: { ...env, KUBERNETES_VERSION: '1.20' }, report })).rejects.toThrow(
      'KUBERNETES_VERSION is 1.20: there is 1.37 and 1.34',
    );
  });

  it('uses KUBEBUILDER_ASSETS, and builds only binaries that may be missing there', async () => {
    const assets = join(scratch, 'assets');
    await mkdir(assets);
    const asset = async (name: string) => {
      await writeFile(join(assets, name), '', { mode: 0o755 });
      return join(assets, name);
    };
    const withAssets = { env: { ...env, KUBEBUILDER_ASSETS: assets }, report };
    const own: Partial<Binaries> = {
      etcd: await asset('etcd'),
      kubeApiserver: await asset('kube-apiserver'),
    };
    await expect(ensureBinaries(withAssets)).rejects.toThrow(
      `KUBEBUILDER_ASSETS is set, but ${join(assets, 'kubectl')} is missing`,
    );
    const kubectl = await asset('kubectl');
    await chmod(kubectl, 0o644);
    await expect(ensureBinaries(withAssets)).rejects.toThrow('missing or not executable');
    await chmod(kubectl, 0o755);

    await openGate();
    const mixed = await ensureBinaries(withAssets);
    expect(mixed).toMatchObject({ ...own, kubectl });
    expect(mixed.kubeControllerManager).toContain('/gateway-upstream-operator/control-plane/');
    expect(await builds()).toBe(1);

    const kubeControllerManager = await asset('kube-controller-manager');
    expect(await ensureBinaries(withAssets)).toEqual({ ...own, kubectl, kubeControllerManager });
  });
});

describe('ensureHelm', () => {
  it('builds helm separately, so that a new helm version does not rebuild the control plane', async () => {
    await openGate();
    await ensureBinaries({ env, report });
    expect(await builds()).toBe(1);
    const helm = await ensureHelm({ env, report });
    expect(await builds()).toBe(2);
    expect(helm).toContain('/gateway-upstream-operator/helm/');
    expect(lines.filter((line) => line.startsWith('building '))).toEqual([
      expect.stringContaining('building etcd, kube-apiserver, kube-controller-manager and kubectl '),
      expect.stringContaining('building helm '),
    ]);
  });

  it('uses helm from KUBEBUILDER_ASSETS if it exists', async () => {
    await writeFile(join(scratch, 'helm'), '', { mode: 0o755 });
    const withAssets = { ...env, KUBEBUILDER_ASSETS: scratch };
    expect(await ensureHelm({ env: withAssets, report })).toBe(join(scratch, 'helm'));
  });
});

/** Replaces the Go toolchain, so that tests can count, delay and fail builds. */
const STAND_IN_GO = `#!/bin/sh
if [ "$1" = version ]; then
  [ -z "$STAND_IN_OLD" ] && exit 0
  echo 'go: go.mod requires go >= 1.26.0' >&2
  exit 1
fi
while [ "$1" != -o ]; do shift; done
mkdir -p "$2"
echo build >> "$STAND_IN_LOG"
echo k8s.io/kubernetes/pkg/util >&2
if [ -n "$STAND_IN_FAILS" ]; then
  echo 'main.go:7: no space left on device' >&2
  exit 1
fi
until [ -e "$STAND_IN_GATE" ]; do
  [ -e "$2" ] || exit 1
  sleep 0.05
done
for name in server kube-apiserver kube-controller-manager kubectl helm; do
  : > "$2/$name" && chmod +x "$2/$name"
done
`;

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('its output is not piped');
  for await (const line of createInterface(child.stdout)) return line;
  throw new Error('it ended without a line');
}
