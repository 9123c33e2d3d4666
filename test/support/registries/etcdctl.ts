import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureGoTools, type GoModule } from '../control-plane/go-tools.ts';
import type { ToolOptions } from '../control-plane/tool-cache.ts';

const MODULE: GoModule = {
  folder: fileURLToPath(new URL('../../registries/etcdctl/', import.meta.url)),
  name: 'etcdctl',
  what: 'etcdctl',
  tools: ['etcdctl'],
  announce: () => 'building etcdctl from source (about half a minute on 2 cores the first time)',
  flags: () => ['-trimpath', '-ldflags', '-s -w'],
  remedy: 'install it from https://go.dev/dl',
};

/** The path of the etcdctl program that test/registries/etcdctl/go.mod builds. */
export async function ensureEtcdctl(
  options: ToolOptions = { env: process.env, report: (line) => process.stderr.write(`${line}\n`) },
): Promise<string> {
  return join(await ensureGoTools(MODULE, options), 'etcdctl');
}
