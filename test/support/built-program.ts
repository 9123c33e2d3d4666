import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';
import config from '../../rolldown.config.ts';

export interface BuiltProgram extends AsyncDisposable {
  /** The entry point for `node`. */
  readonly main: string;
}

/** Builds the program into a separate folder, so that no other build in this checkout replaces it. */
export async function buildProgram(): Promise<BuiltProgram> {
  // Inside the checkout, so that the built program finds its packages in node_modules.
  const dir = fileURLToPath(new URL(`../../.test-results/program-${process.pid}`, import.meta.url));
  await build({ ...config, output: { ...config.output, dir } });
  return {
    main: join(dir, 'main.js'),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
