import { delimiter, join } from 'node:path';
import { isExecutable, ToolMissingError } from '../control-plane/tool-cache.ts';

/** Programs that a node needs, with the package of Debian that has each. */
const PROGRAMS: Readonly<Record<string, string>> = {
  buildah: 'buildah',
  containerd: 'containerd',
  'containerd-shim-runc-v2': 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  debootstrap: 'debootstrap',
  conntrack: 'conntrack',
  ip: 'iproute2',
  nft: 'nftables',
  unshare: 'util-linux',
};

export const CNI_PLUGINS = '/usr/lib/cni';

/** @throws ToolMissingError that names everything that is missing, and how to get it. */
export async function requireRealNode(): Promise<void> {
  if (process.platform !== 'linux') throw new ToolMissingError('a real node needs Linux');
  if (process.getuid?.() !== 0) throw new ToolMissingError('a real node needs root');
  const packages = new Set<string>();
  for (const [program, name] of Object.entries(PROGRAMS)) {
    if (!(await isOnPath(program))) packages.add(name);
  }
  if (!(await isExecutable(join(CNI_PLUGINS, 'bridge')))) packages.add('containernetworking-plugins');
  if (packages.size === 0) return;
  const names = [...packages].join(' ');
  throw new ToolMissingError(`a real node needs: apt-get install --no-install-recommends ${names}`);
}

async function isOnPath(program: string): Promise<boolean> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const found = await Promise.all(folders.map((folder) => isExecutable(join(folder, program))));
  return found.includes(true);
}
