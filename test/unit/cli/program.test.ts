import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));

describe('the program', () => {
  it('ends quietly when the reader of its output closes the pipe', async () => {
    // The CRDs are larger than what a pipe takes at once.
    const script = `'${process.execPath}' '${MAIN}' print | head -1`;
    expect(await run('bash', ['-o', 'pipefail', '-c', script])).toEqual({
      stdout: 'apiVersion: apiextensions.k8s.io/v1\n',
      stderr: '',
    });
  });
});
