import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureGoTools, type GoModule } from '../control-plane/go-tools.ts';
import type { ToolOptions } from '../control-plane/tool-cache.ts';

/** Absolute paths. */
export interface NodeBinaries {
  readonly kubelet: string;
  readonly kubeProxy: string;
  readonly kubeScheduler: string;
  readonly coredns: string;
  /** Static programs that images of tests are made of. */
  readonly pause: string;
  readonly backend: string;
}

const NAMES: NodeBinaries = {
  kubelet: 'kubelet',
  kubeProxy: 'kube-proxy',
  kubeScheduler: 'kube-scheduler',
  coredns: 'coredns',
  pause: 'pause',
  backend: 'backend',
};

const MODULE: GoModule = {
  folder: fileURLToPath(new URL('../../real-node/', import.meta.url)),
  name: 'real-node',
  what: 'the programs of a node',
  tools: Object.values(NAMES),
  sources: ['backend', 'coredns', 'pause'].map((name) => `${name}/main.go`),
  announce: () =>
    'building kubelet, kube-proxy, kube-scheduler and CoreDNS from source (about 4 minutes on 2 cores after the control plane, ' +
    "seconds when Go's build cache is warm)",
  flags(goMod) {
    const [, gitVersion, major, minor] = /k8s\.io\/kubernetes (v(\d+)\.(\d+)\.\d+)/.exec(goMod) ?? [];
    const stamps = Object.entries({ gitVersion, gitMajor: major, gitMinor: minor });
    const ldflags = stamps.map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`);
    return ['-trimpath', '-ldflags', `-s -w ${ldflags.join(' ')}`];
  },
  remedy: 'install it from https://go.dev/dl',
};

export async function ensureNodeBinaries(options: ToolOptions): Promise<NodeBinaries> {
  const folder = await ensureGoTools(MODULE, options);
  const path = (name: keyof NodeBinaries) => join(folder, NAMES[name]);
  return {
    kubelet: path('kubelet'),
    kubeProxy: path('kubeProxy'),
    kubeScheduler: path('kubeScheduler'),
    coredns: path('coredns'),
    pause: path('pause'),
    backend: path('backend'),
  };
}
