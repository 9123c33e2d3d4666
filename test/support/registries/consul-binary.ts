import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureGoTools, type GoModule } from '../control-plane/go-tools.ts';
import type { ToolOptions } from '../control-plane/tool-cache.ts';

const MODULE: GoModule = {
  folder: fileURLToPath(new URL('../../registries/consul/', import.meta.url)),
  name: 'consul',
  what: 'Consul',
  tools: ['consul'],
  announce: (goMod) =>
    `building Consul ${versionIn(goMod)} from source (about 3 minutes on 2 cores the first time)`,
  flags: (goMod) => [
    '-trimpath',
    '-ldflags',
    `-s -w -X github.com/hashicorp/consul/version.GitDescribe=${versionIn(goMod)}`,
  ],
  remedy: 'install it from https://go.dev/dl',
};

function versionIn(goMod: string): string {
  const [, version] = /github\.com\/hashicorp\/consul (v\d+\.\d+\.\d+)/.exec(goMod) ?? [];
  if (version === undefined) throw new Error('the go.mod of Consul names no version of it');
  return version;
}

/** The path of the consul program that test/registries/consul/go.mod builds. */
export async function ensureConsul(
  options: ToolOptions = { env: process.env, report: (line) => process.stderr.write(`${line}\n`) },
): Promise<string> {
  return join(await ensureGoTools(MODULE, options), 'consul');
}
