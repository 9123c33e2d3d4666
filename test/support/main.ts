import { fileURLToPath } from 'node:url';

/** Names the built program that a test run starts instead of the sources; see `built-program.ts`. */
export const PROGRAM_VARIABLE = 'OPERATOR_PROGRAM';

/**
 * The program that tests start. The integration tests run the built one: it is what users run, and it starts in a third of
 * the time that Node needs to strip the types of the sources.
 */
export const MAIN =
  process.env[PROGRAM_VARIABLE] ?? fileURLToPath(new URL('../../src/main.ts', import.meta.url));
