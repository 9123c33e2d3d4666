import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureGoTools, type GoModule } from '../control-plane/go-tools.ts';
import { isExecutable, type ToolOptions } from '../control-plane/tool-cache.ts';

const MODULE: GoModule = {
  folder: fileURLToPath(new URL('../../helm/', import.meta.url)),
  name: 'helm',
  what: 'helm',
  tools: ['helm'],
  announce: () =>
    "building helm from source (about 3 minutes on 2 cores the first time, seconds when Go's build cache is warm)",
  flags: () => ['-trimpath', '-ldflags', '-s -w'],
  remedy: 'install it from https://go.dev/dl, or put helm into the folder that KUBEBUILDER_ASSETS names',
};

/** The path of helm: the one in `KUBEBUILDER_ASSETS` if there is one, else the one that test/helm/go.mod builds. */
export async function ensureHelm(
  options: ToolOptions = { env: process.env, report: (line) => process.stderr.write(`${line}\n`) },
): Promise<string> {
  const assets = options.env['KUBEBUILDER_ASSETS'];
  if (assets !== undefined && assets !== '') {
    const path = join(assets, 'helm');
    if (await isExecutable(path)) return path;
  }
  return join(await ensureGoTools(MODULE, options), 'helm');
}
