import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { cachePath, isExecutable, ToolMissingError } from '../control-plane/tool-cache.ts';

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
  for (const plugin of ['bridge', 'host-local', 'loopback']) {
    if (!(await isExecutable(join(CNI_PLUGINS, plugin)))) packages.add('containernetworking-plugins');
  }
  if (packages.size > 0) {
    const names = [...packages].join(' ');
    throw new ToolMissingError(`a real node needs: apt-get install --no-install-recommends ${names}`);
  }
  assertVisible();
  await promisify(execFile)('unshare', ['--net', '--mount', '--pid', '--fork', 'true']).catch(() => {
    throw new ToolMissingError('a real node needs the right to make namespaces (CAP_SYS_ADMIN)');
  });
}

/** enter.sh mounts empty folders over these. */
const HIDDEN = ['/run/', '/var/lib/', '/var/log/', '/opt/'];

/** What the suite reads and writes must not be below a folder that it hides. */
function assertVisible(): void {
  const used = { checkout: process.cwd(), cache: cachePath(process.env), 'temporary folder': tmpdir() };
  for (const [what, path] of Object.entries(used)) {
    const hidden = HIDDEN.find((folder) => `${path}/`.startsWith(folder));
    if (hidden === undefined) continue;
    throw new ToolMissingError(`a real node hides ${hidden}, and the ${what} is ${path}: move it elsewhere`);
  }
}

async function isOnPath(program: string): Promise<boolean> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const found = await Promise.all(folders.map((folder) => isExecutable(join(folder, program))));
  return found.includes(true);
}
