/** The oldest Node.js that runs this program: `engines.node` of package.json. */
export const REQUIRED_NODE = '22.19';

/**
 * What a user with Node.js `version`, such as `20.11.1`, has to know; undefined if it is new enough. An older Node.js
 * evaluates this file, so it uses no newer syntax.
 */
export function nodeVersionProblem(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [requiredMajor = 0, requiredMinor = 0] = REQUIRED_NODE.split('.').map(Number);
  if (major > requiredMajor || (major === requiredMajor && minor >= requiredMinor)) return undefined;
  return `gateway-upstream-operator needs Node.js ${REQUIRED_NODE} or newer, and this is Node.js ${version}: install a newer Node.js, or run the container image`;
}
