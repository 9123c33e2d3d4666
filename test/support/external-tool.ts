import { ToolMissingError } from './control-plane/tool-cache.ts';

/**
 * Skips the test, with the reason, where a tool cannot be had on this machine. Under `CI=true` the test fails instead: there a
 * missing tool is a fault of the machine. Any other error of `provide` fails the test.
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
