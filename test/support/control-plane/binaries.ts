import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtTools, ensureGoTools, type GoModule } from './go-tools.ts';
import { ensureRelease, type Release } from './release-download.ts';
import { isExecutable, type ToolOptions } from './tool-cache.ts';

/** Absolute paths. */
export interface Binaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubeControllerManager: string;
  readonly kubectl: string;
}

/** The file names of a Go build. The name of etcd's main package is `server`. */
const BUILT: Binaries = {
  etcd: 'server',
  kubeApiserver: 'kube-apiserver',
  kubeControllerManager: 'kube-controller-manager',
  kubectl: 'kubectl',
};

/** The file names of the releases and of kubebuilder's setup-envtest. */
const RELEASED: Binaries = { ...BUILT, etcd: 'etcd' };

/** The Go module of each supported minor version of Kubernetes. */
const FOLDERS = { '1.37': 'control-plane', '1.34': 'control-plane-1.34' } as const;

type Minor = keyof typeof FOLDERS;

function isMinor(text: string): text is Minor {
  return Object.hasOwn(FOLDERS, text);
}

/** The module for the Kubernetes version in `KUBERNETES_VERSION`. Default: the newest. */
function moduleFor(env: ToolOptions['env']): GoModule {
  const minor = env['KUBERNETES_VERSION'] || '1.37';
  if (!isMinor(minor)) {
    throw new Error(`KUBERNETES_VERSION is ${minor}: there is ${Object.keys(FOLDERS).join(' and ')}`);
  }
  const name = FOLDERS[minor];
  return {
    folder: fileURLToPath(new URL(`../../${name}/`, import.meta.url)),
    name,
    what: 'the control plane',
    tools: Object.values(BUILT),
    announce: (goMod) =>
      `building etcd, kube-apiserver, kube-controller-manager and kubectl from source (Kubernetes ` +
      `${releaseOf(goMod).kubernetes}; about 8 minutes on 2 cores the first time, seconds when Go's build cache is warm)`,
    flags(goMod) {
      const gitVersion = releaseOf(goMod).kubernetes;
      const [, gitMajor = '', gitMinor = ''] = /^v(\d+)\.(\d+)/.exec(gitVersion) ?? [];
      // Without these, the API server reports v0.0.0, which helm and client libraries reject.
      const stamps = Object.entries({ gitVersion, gitMajor, gitMinor });
      const ldflags = stamps.map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`);
      return ['-trimpath', '-ldflags', `-s -w ${ldflags.join(' ')}`];
    },
    remedy: 'install it from https://go.dev/dl, or let KUBEBUILDER_ASSETS name a folder of ready binaries',
  };
}

/** The versions in a go.mod, which also determine the download. */
function releaseOf(goMod: string): Release {
  const versionOf = (path: string): string => {
    const [, version] = new RegExp(`^\\s*${path} (v\\d+\\.\\d+\\.\\d+)\\b`, 'm').exec(goMod) ?? [];
    if (version === undefined) throw new Error(`the go.mod of the control plane names no version of ${path}`);
    return version;
  };
  return { kubernetes: versionOf('k8s.io/kubernetes'), etcd: versionOf('go.etcd.io/etcd/server/v3') };
}

/**
 * The programs of a control plane of version `KUBERNETES_VERSION`, from `KUBEBUILDER_ASSETS`, the user's cache folder, the
 * release servers or a build of a Go module, in this order. `KUBEBUILDER_ASSETS` must contain etcd, kube-apiserver and
 * kubectl; a missing controller manager comes from the other places. If several processes call this, one downloads or
 * builds, and the others wait.
 *
 * @throws Error that names the missing file or tool, or the failure of the build.
 */
export async function ensureBinaries(options: ToolOptions): Promise<Binaries> {
  const assetsDir = options.env['KUBEBUILDER_ASSETS'];
  if (assetsDir === undefined || assetsDir === '') return ensureOwn(options);
  const assets = pathsIn(resolve(assetsDir), RELEASED);
  for (const path of [assets.etcd, assets.kubeApiserver, assets.kubectl]) {
    if (!(await isExecutable(path))) {
      throw new Error(`KUBEBUILDER_ASSETS is set, but ${path} is missing or not executable`);
    }
  }
  if (await isExecutable(assets.kubeControllerManager)) return assets;
  return { ...assets, kubeControllerManager: (await ensureOwn(options)).kubeControllerManager };
}

async function ensureOwn(options: ToolOptions): Promise<Binaries> {
  const module = moduleFor(options.env);
  const built = await builtTools(module, options.env);
  if (built !== undefined) return pathsIn(built, BUILT);
  const goMod = await readFile(join(module.folder, 'go.mod'), 'utf8');
  const downloaded = await ensureRelease(releaseOf(goMod), options);
  if (downloaded !== undefined) return pathsIn(downloaded, RELEASED);
  return pathsIn(await ensureGoTools(module, options), BUILT);
}

function pathsIn(dir: string, names: Binaries): Binaries {
  return {
    etcd: join(dir, names.etcd),
    kubeApiserver: join(dir, names.kubeApiserver),
    kubeControllerManager: join(dir, names.kubeControllerManager),
    kubectl: join(dir, names.kubectl),
  };
}
