import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, ensureGoTools, type GoModule, isExecutable } from './go-tools.ts';

/** Absolute paths. */
export interface Binaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubeControllerManager: string;
  readonly kubectl: string;
  readonly helm: string;
}

/** File names as Go writes them: etcd's main package is called `server`. */
const BUILT: Binaries = {
  etcd: 'server',
  kubeApiserver: 'kube-apiserver',
  kubeControllerManager: 'kube-controller-manager',
  kubectl: 'kubectl',
  helm: 'helm',
};

/** The Go module of each minor version of Kubernetes that tests may ask for. */
const FOLDERS = { '1.37': 'control-plane', '1.34': 'control-plane-1.34' } as const;

type Minor = keyof typeof FOLDERS;

function isMinor(text: string): text is Minor {
  return Object.hasOwn(FOLDERS, text);
}

/** The module that builds the Kubernetes that `KUBERNETES_VERSION` asks for, the newest where it is not set. */
function moduleFor(env: BuildOptions['env']): GoModule {
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
      `building etcd, kube-apiserver, kube-controller-manager, kubectl and helm from source (Kubernetes ` +
      `${kubernetesVersion(goMod)[0]}; about 8 minutes on 2 cores the first time, seconds when Go's build cache is warm)`,
    flags(goMod) {
      const [gitVersion, gitMajor, gitMinor] = kubernetesVersion(goMod);
      // Without these the API server calls itself v0.0.0, which helm and client libraries do not accept.
      const stamps = Object.entries({ gitVersion, gitMajor, gitMinor });
      const ldflags = stamps.map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`);
      return ['-trimpath', '-ldflags', `-s -w ${ldflags.join(' ')}`];
    },
    remedy: 'install it from https://go.dev/dl, or let KUBEBUILDER_ASSETS name a folder of ready binaries',
  };
}

function kubernetesVersion(goMod: string): readonly [full: string, major: string, minor: string] {
  const version = /^\s*k8s\.io\/kubernetes (v(\d+)\.(\d+)\S*)/m.exec(goMod);
  if (version === null)
    throw new Error('the go.mod of the control plane names no version of k8s.io/kubernetes');
  const [, full = '', major = '', minor = ''] = version;
  return [full, major, minor];
}

/** File names as kubebuilder's setup-envtest and most downloads have them. */
const ASSETS: Binaries = { ...BUILT, etcd: 'etcd' };

/**
 * The programs of a control plane: those in `KUBEBUILDER_ASSETS` when it is set, else those built from a Go module, once
 * per content of that module, into the user's cache folder: test/control-plane, or the one of an older Kubernetes that
 * `KUBERNETES_VERSION` asks for.
 *
 * `KUBEBUILDER_ASSETS` must hold etcd, kube-apiserver and kubectl; a controller manager or helm that is missing
 * there is built. Several processes may call this at once: one builds, the others wait.
 *
 * @throws Error that says which file is missing, that Go is missing, or how the build failed.
 */
export async function ensureBinaries(options: BuildOptions): Promise<Binaries> {
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

async function ensureBuilt(options: BuildOptions): Promise<Binaries> {
  return pathsIn(await ensureGoTools(moduleFor(options.env), options), BUILT);
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
