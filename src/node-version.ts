/** The minimum version of Node.js. Same as `engines.node` in package.json. */
export const REQUIRED_NODE = '22.19';

/**
 * The error message for Node.js `version`, such as `20.11.1`. Undefined if it is new enough. Older versions of Node.js
 * evaluate this file, so it must not use newer syntax.
 */
export function nodeVersionProblem(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [requiredMajor = 0, requiredMinor = 0] = REQUIRED_NODE.split('.').map(Number);
  if (major > requiredMajor || (major === requiredMajor && minor >= requiredMinor)) return undefined;
  return `gateway-upstream-operator needs Node.js ${REQUIRED_NODE} or newer, but this is Node.js ${version}: install a newer version of Node.js, or use the container image`;
}
