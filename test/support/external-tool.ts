import { ToolMissingError } from './control-plane/tool-cache.ts';

/**
 * Skips the test with the reason if a tool is missing on this machine. With `CI=true`, the test fails instead. Any other
 * error of `provide` fails the test.
 */
export async function requireTool(
  skip: (reason: string) => void,
  provide: () => Promise<unknown>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<void> {
  try {
    await provide();
  } catch (error) {
    if (!(error instanceof ToolMissingError) || env['CI'] === 'true') throw error;
    skip(error.message);
  }
}
