import { defineConfig, type Plugin } from 'rolldown';

const CLIENT = '@kubernetes/client-node';
/** What the transformation below refers to: a few lines each, and no dependency of ours. */
const HELPERS = '@oxc-project/runtime';

/**
 * client-node's own way to send requests, which is not ours: loaded when somebody goes it, since its 109 modules take some
 * 4 MiB and 50 ms of every start (docs/decisions/0024-client-node-is-bundled.md).
 */
const LAZY_UNDICI = `
import { createRequire } from 'node:module';
const undici = () => createRequire(import.meta.url)('undici');
export function Agent(...options) { return new (undici().Agent)(...options); }
export function ProxyAgent(...options) { return new (undici().ProxyAgent)(...options); }
export const fetch = (...request) => undici().fetch(...request);
`;
const lazyUndici: Plugin = {
  name: 'lazy-undici',
  resolveId: (id) => (id === 'undici' ? { id: '\0undici', moduleSideEffects: false } : null),
  load: (id) => (id === '\0undici' ? LAZY_UNDICI : null),
};

/**
 * The program in two files: what has to be done before anything is loaded, and the rest. client-node comes into it, so that
 * of its 24 MB of clients for every API only what is used is loaded (docs/decisions/0024-client-node-is-bundled.md); every
 * other package stays in node_modules.
 */
export default defineConfig({
  input: 'src/main.ts',
  platform: 'node',
  plugins: [lazyUndici],
  external: (id) => !/^[./\0]/.test(id) && id !== CLIENT && id !== 'undici' && !id.startsWith(HELPERS),
  // `using` as what Node 22 can read.
  transform: { target: 'es2024' },
  // Its modules do nothing but define; it does not say so itself.
  treeshake: { moduleSideEffects: (id) => !id.includes(CLIENT) },
  output: { dir: 'dist', format: 'esm', sourcemap: true, cleanDir: true },
});
