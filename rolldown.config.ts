import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Plugin } from 'rolldown';

const CLIENT = '@kubernetes/client-node';

/**
 * client-node sends its own requests with undici; the operator does not, and loading undici would add 4 MiB and 50 ms to every
 * start (docs/decisions/0024-client-node-is-bundled.md).
 */
const UNUSED_UNDICI = `
const unused = () => { throw new Error('this program is built without undici: send requests with src/runtime/http'); };
export function Agent() { unused(); }
export function ProxyAgent() { unused(); }
export const fetch = unused;
`;
const unusedUndici: Plugin = {
  name: 'unused-undici',
  resolveId: (id) => (id === 'undici' ? { id: '\0undici', moduleSideEffects: false } : null),
  load: (id) => (id === '\0undici' ? UNUSED_UNDICI : null),
};

const LICENSE_FILE = /^((un)?licen[cs]e|copying)/i;

/** Licenses of bundled packages require that their text goes with the program. */
const notices: Plugin = {
  name: 'third-party-notices',
  generateBundle() {
    const folders = [...this.getModuleIds()].flatMap((id) => {
      // The bundler's own helpers are virtual modules.
      const [path] = id.startsWith('\0') ? [] : (/^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id) ?? []);
      return path === undefined ? [] : [path];
    });
    const texts = [...new Set(folders)].map(noticeOf).sort();
    this.emitFile({ type: 'asset', fileName: 'THIRD-PARTY-NOTICES.txt', source: texts.join('\n') });
  },
};

/** Fails for a package without a license text: the program must not contain it. */
export function noticeOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const files = readdirSync(folder).sort();
  if (!files.some((file) => LICENSE_FILE.test(file)))
    throw new Error(`${name} ${version} (${license}) has no license file: remove the package, or replace it`);
  const texts = files
    .filter((file) => LICENSE_FILE.test(file) || /^notice/i.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());
  return `${name} ${version} (${license})\n\n${texts.join('\n\n')}\n\n${'-'.repeat(80)}\n`;
}

/**
 * The program in two parts: what has to be done before anything is loaded, and the rest. All packages are part of it, so it runs
 * without node_modules (docs/decisions/0045-image-and-real-cluster.md).
 */
export default defineConfig({
  input: 'src/main.ts',
  platform: 'node',
  plugins: [unusedUndici, notices],
  // `using` as what Node 22 can read.
  transform: { target: 'es2024' },
  // Its modules do nothing but define; it does not say so itself.
  treeshake: { moduleSideEffects: (id) => !id.includes(CLIENT) },
  output: { dir: 'dist', format: 'esm', sourcemap: true, cleanDir: true },
});
