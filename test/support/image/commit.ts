import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Commit {
  readonly revision: string;
  readonly epochSeconds: number;
}

/** The checked-out commit. Fails if a file that the image is built from differs from it. */
export async function checkedOutCommit(root: string): Promise<Commit> {
  const git = async (...args: string[]) =>
    (await promisify(execFile)('git', args, { cwd: root })).stdout.trimEnd();
  const ignore = await readFile(join(root, '.dockerignore'), 'utf8');
  const inputs = ignore.split('\n').flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));
  const revision = await git('rev-parse', 'HEAD');
  const changes = await git('status', '--porcelain', '--', 'Dockerfile', '.dockerignore', ...inputs);
  if (changes !== '')
    throw new Error(
      `the work tree differs from commit ${revision}, which the image would name: commit the changes, or run "git stash --include-untracked"\n${changes}`,
    );
  return { revision, epochSeconds: Number(await git('log', '-1', '--format=%ct')) };
}
