import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { nodeVersionProblem, REQUIRED_NODE } from '../../src/node-version.ts';

const run = promisify(execFile);
const root = new URL('../../', import.meta.url);
const MAIN = fileURLToPath(new URL('src/main.ts', root));

describe('the required version of Node.js', () => {
  it.each(['22.19.0', '22.20.1', '23.0.0', '24.21.0', '100.0.0', '24.0.0-nightly20250101'])(
    'accepts %s',
    (version) => {
      expect(nodeVersionProblem(version)).toBeUndefined();
    },
  );

  it.each(['22.18.9', '22.2.0', '20.20.2', '18.0.0', '9.99.0'])('rejects %s', (version) => {
    expect(nodeVersionProblem(version)).toBe(
      `gateway-upstream-operator needs Node.js 22.19 or newer, but this is Node.js ${version}: install a newer version of Node.js, or use the container image`,
    );
  });

  it('ends every command with one line and exit code 1 if Node.js is too old', async () => {
    const older = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.11.1' } })`;
    for (const command of ['install', 'run', '--help']) {
      const ended = run(process.execPath, ['--import', `data:text/javascript,${older}`, MAIN, command]);
      await expect(ended).rejects.toMatchObject({
        code: 1,
        stdout: '',
        stderr: `${nodeVersionProblem('20.11.1')}\n`,
      });
    }
  });

  it.each(['README.md', 'docs/install.md'])('matches %s', async (page) => {
    const text = await readFile(new URL(page, root), 'utf8');
    const named = [...text.matchAll(/Node(?:\.js)? (\d[\d.]*\d|\d+) or newer/g)].map(
      ([, version]) => version,
    );
    expect(new Set(named)).toEqual(new Set([REQUIRED_NODE]));
  });

  it('matches package.json', async () => {
    const { engines } = JSON.parse(await readFile(new URL('package.json', root), 'utf8')) as {
      readonly engines: { readonly node: string };
    };
    expect(engines.node).toBe(`>=${REQUIRED_NODE}`);
  });
});
