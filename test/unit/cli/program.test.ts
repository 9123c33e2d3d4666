import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));

describe('the program', () => {
  it('exits without an error when the reader of its output closes the pipe', async () => {
    // The CRDs do not fit into the buffer of a pipe.
    const script = `'${process.execPath}' '${MAIN}' print | head -1`;
    expect(await run('bash', ['-o', 'pipefail', '-c', script])).toEqual({
      stdout: 'apiVersion: apiextensions.k8s.io/v1\n',
      stderr: '',
    });
  });
});
