import { fileURLToPath } from 'node:url';

/** The path of the built program that a test run uses instead of the sources; see `built-program.ts`. */
export const PROGRAM_VARIABLE = 'OPERATOR_PROGRAM';

/**
 * The program that tests start. The integration tests use the built program, like users. It starts three times as fast as the
 * sources, whose types Node has to strip.
 */
export const MAIN =
  process.env[PROGRAM_VARIABLE] ?? fileURLToPath(new URL('../../src/main.ts', import.meta.url));
