import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, constants, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isAlive, tryLock } from './build-lock.ts';
import { isErrno } from './errno.ts';

/** Absolute paths. */
export interface Binaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubeControllerManager: string;
  readonly kubectl: string;
  readonly helm: string;
}

export interface EnsureBinariesOptions {
  /** PATH, HOME, XDG_CACHE_HOME, KUBEBUILDER_ASSETS and Go's own variables are read from it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Gets one line of progress at a time, without its end of line. */
  readonly report: (line: string) => void;
}

const MODULE_DIR = fileURLToPath(new URL('../../control-plane/', import.meta.url));
const REPORT_EVERY_MS = 15_000;
const TAIL_LINES = 25;

/** File names as Go writes them: etcd's main package is called `server`. */
const BUILT: Binaries = {
  etcd: 'server',
  kubeApiserver: 'kube-apiserver',
  kubeControllerManager: 'kube-controller-manager',
  kubectl: 'kubectl',
  helm: 'helm',
};

/** File names as kubebuilder's setup-envtest and most downloads have them. */
const ASSETS: Binaries = { ...BUILT, etcd: 'etcd' };

/**
 * The programs of a control plane: those in `KUBEBUILDER_ASSETS` when it is set, else those built from the Go module
 * in test/control-plane, once per content of that module, into the user's cache folder.
 *
 * `KUBEBUILDER_ASSETS` must hold etcd, kube-apiserver and kubectl; a controller manager or helm that is missing
 * there is built. Several processes may call this at once: one builds, the others wait.
 *
 * @throws Error that says which file is missing, that Go is missing, or how the build failed.
 */
export async function ensureBinaries(options: EnsureBinariesOptions): Promise<Binaries> {
  const assetsDir = options.env['KUBEBUILDER_ASSETS'];
  if (assetsDir === undefined || assetsDir === '') return ensureBuilt(options);
  const assets = pathsIn(resolve(assetsDir), ASSETS);
  for (const path of [assets.etcd, assets.kubeApiserver, assets.kubectl]) {
    if (!(await isExecutable(path))) {
      throw new Error(`KUBEBUILDER_ASSETS is set, but ${path} is missing or not executable`);
    }
  }
  const [hasControllerManager, hasHelm] = await Promise.all([
    isExecutable(assets.kubeControllerManager),
    isExecutable(assets.helm),
  ]);
  if (hasControllerManager && hasHelm) return assets;
  const built = await ensureBuilt(options);
  return {
    ...assets,
    kubeControllerManager: hasControllerManager ? assets.kubeControllerManager : built.kubeControllerManager,
    helm: hasHelm ? assets.helm : built.helm,
  };
}

async function ensureBuilt(options: EnsureBinariesOptions): Promise<Binaries> {
  const plan = await buildPlan(options.env);
  const binaries = pathsIn(plan.dir, BUILT);
  if (await areExecutable(binaries)) return binaries;
  await requireGo(options.env);
  await mkdir(dirname(plan.dir), { recursive: true });
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const lock = await tryLock(`${plan.dir}.lock`);
    if (lock.state === 'acquired') {
      try {
        if (!(await areExecutable(binaries))) await buildInto(plan, options);
        return binaries;
      } finally {
        await lock.release();
      }
    }
    if (performance.now() - reportedAtMs >= REPORT_EVERY_MS) {
      options.report(`waiting for process ${lock.pid}, which is building the control plane`);
      reportedAtMs = performance.now();
    }
    await delay(500);
    if (await areExecutable(binaries)) return binaries;
  }
}

interface BuildPlan {
  readonly dir: string;
  readonly version: string;
  /** Arguments of `go`, without the output folder. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

async function buildPlan(env: EnsureBinariesOptions['env']): Promise<BuildPlan> {
  const [goMod, goSum] = await Promise.all(
    ['go.mod', 'go.sum'].map((name) => readFile(join(MODULE_DIR, name), 'utf8')),
  );
  const version = /^\s*k8s\.io\/kubernetes (v(\d+)\.(\d+)\S*)/m.exec(goMod ?? '');
  if (version === null) throw new Error(`${MODULE_DIR}go.mod names no version of k8s.io/kubernetes`);
  const [, full = '', major = '', minor = ''] = version;
  // Without these the API server calls itself v0.0.0, which helm and client libraries do not accept.
  const stamps = Object.entries({ gitVersion: full, gitMajor: major, gitMinor: minor });
  const ldflags = stamps.map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
  const flags = ['-trimpath', '-ldflags', `-s -w ${ldflags.join(' ')}`];
  const goEnv = { CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false -mod=readonly', GOWORK: 'off' };
  const key = createHash('sha256')
    .update(JSON.stringify([goMod, goSum, process.platform, process.arch, flags, goEnv]))
    .digest('hex')
    .slice(0, 16);
  return {
    dir: join(userCacheDir(env), 'gateway-upstream-operator', 'control-plane', key),
    version: full,
    flags,
    env: goEnv,
  };
}

function userCacheDir(env: EnsureBinariesOptions['env']): string {
  const xdg = env['XDG_CACHE_HOME'];
  // The XDG specification: a relative path is invalid and to be ignored.
  if (xdg !== undefined && isAbsolute(xdg)) return xdg;
  const home = env['HOME'] || homedir();
  return process.platform === 'darwin' ? join(home, 'Library', 'Caches') : join(home, '.cache');
}

async function requireGo(env: EnsureBinariesOptions['env']): Promise<void> {
  const remedy =
    'install it from https://go.dev/dl, or let KUBEBUILDER_ASSETS name a folder of ready binaries';
  const needed = 'Go 1.26 or newer is needed once to build the test control plane';
  try {
    // In the module's folder, so that an older Go fetches the toolchain that go.mod asks for, or says that it cannot.
    const exit = await runGo(['version'], env, () => undefined);
    if (exit.ok) return;
    throw new Error(`${needed}: ${remedy} (go said: ${exit.tail.at(-1) ?? 'nothing'})`);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new Error(`${needed}, and there is no go in PATH: ${remedy}`);
  }
}

/** Must be called by the holder of the lock. */
async function buildInto(plan: BuildPlan, { env, report }: EnsureBinariesOptions): Promise<void> {
  const temporary = `${plan.dir}.${process.pid}.tmp`;
  await removeRemains(plan.dir);
  report(
    `building etcd, kube-apiserver, kube-controller-manager, kubectl and helm from source (Kubernetes ` +
      `${plan.version}; about 8 minutes on 2 cores the first time, seconds when Go's build cache is warm)`,
  );
  const startedMs = performance.now();
  const elapsed = () => durationText(performance.now() - startedMs);
  let packages = 0;
  const progress = setInterval(
    () => report(`building for ${elapsed()}, ${packages} packages compiled so far`),
    REPORT_EVERY_MS,
  );
  try {
    const args = ['build', '-v', ...plan.flags, '-o', `${temporary}/`, 'tool'];
    const exit = await runGo(args, { ...env, ...plan.env, GOOS: undefined, GOARCH: undefined }, (kind) => {
      if (kind === 'package') packages += 1;
    });
    if (!exit.ok) {
      throw new Error(`building the control plane failed after ${elapsed()}:\n${exit.tail.join('\n')}`);
    }
    await publish(temporary, plan.dir);
    report(`built in ${elapsed()}: ${plan.dir}`);
  } finally {
    clearInterval(progress);
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Removes what interrupted builds, or somebody who cleaned up by hand, have left where this build will write. */
async function removeRemains(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true });
  for (const name of await readdir(dirname(dir))) {
    const [key, pid, ending] = name.split('.');
    const isRemains = key === basename(dir) && ending === 'tmp' && !isAlive(Number(pid));
    if (isRemains) await rm(join(dirname(dir), name), { recursive: true, force: true, maxRetries: 5 });
  }
}

async function publish(temporary: string, dir: string): Promise<void> {
  try {
    await rename(temporary, dir);
  } catch (error) {
    // The lock may let two in after a crash; the other one's build is as good as this one.
    if (!isErrno(error, 'ENOTEMPTY') && !isErrno(error, 'EEXIST')) throw error;
    if (!(await areExecutable(pathsIn(dir, BUILT)))) throw error;
  }
}

interface GoExit {
  readonly ok: boolean;
  /** The last lines that are more than the name of a package. */
  readonly tail: readonly string[];
}

/** @throws the system's error when go cannot be started, `ENOENT` when it is not in PATH. */
async function runGo(
  args: readonly string[],
  env: EnsureBinariesOptions['env'],
  onLine: (kind: 'package' | 'other') => void,
): Promise<GoExit> {
  const go = spawn('go', args, { cwd: MODULE_DIR, env: { ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  const tail: string[] = [];
  createInterface(go.stderr).on('line', (line) => {
    const isPackage = /^[\w.~/-]+$/.test(line);
    onLine(isPackage ? 'package' : 'other');
    if (isPackage) return;
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
  });
  return new Promise((settle, fail) => {
    go.once('error', fail);
    go.once('close', (code, signal) => {
      if (tail.length === 0 && code !== 0) tail.push(`go ended with ${signal ?? `exit code ${code}`}`);
      settle({ ok: code === 0, tail });
    });
  });
}

function pathsIn(dir: string, names: Binaries): Binaries {
  return {
    etcd: join(dir, names.etcd),
    kubeApiserver: join(dir, names.kubeApiserver),
    kubeControllerManager: join(dir, names.kubeControllerManager),
    kubectl: join(dir, names.kubectl),
    helm: join(dir, names.helm),
  };
}

async function areExecutable(binaries: Binaries): Promise<boolean> {
  return (await Promise.all(Object.values(binaries).map(isExecutable))).every((executable) => executable);
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function durationText(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
