import { defineConfig } from 'rolldown';

const CLIENT = '@kubernetes/client-node';
/** What the transformation below refers to: a few lines each, and no dependency of ours. */
const HELPERS = '@oxc-project/runtime';

/**
 * The program as one file. client-node comes into it, so that of its 24 MB of clients for every API only what is used is
 * loaded (docs/decisions/0024-client-node-is-bundled.md); every other package stays in node_modules.
 */
export default defineConfig({
  input: 'src/main.ts',
  platform: 'node',
  external: (id) => !/^[./]/.test(id) && id !== CLIENT && !id.startsWith(HELPERS),
  // `using` as what Node 22 can read.
  transform: { target: 'es2024' },
  // Its modules do nothing but define; it does not say so itself.
  treeshake: { moduleSideEffects: (id) => !id.includes(CLIENT) },
  output: { dir: 'dist', format: 'esm', sourcemap: true, cleanDir: true },
});
