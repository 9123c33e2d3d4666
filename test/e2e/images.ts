import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { HOST_ARCHITECTURE } from '../support/image/base-image.ts';
import { type BuiltImage, buildImage } from '../support/image/operator-image.ts';
import { buildStaticImage } from '../support/image/static-image.ts';
import { ensureNodeBinaries } from '../support/real-node/binaries.ts';
import { PAUSE_IMAGE } from '../support/real-node/node-files.ts';

export const REGISTRY = 'e2e.test';
export const BACKEND_IMAGE = `${REGISTRY}/backend:1`;
/** Of the commit before this one. */
export const PREVIOUS_TAG = 'previous';
export const OPERATOR_IMAGE = `${REGISTRY}/gateway-upstream-operator`;

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What the suite finds in the folder of images: archives, and the sources of the previous version. */
export const FILES = {
  pause: 'pause.tar',
  backend: 'backend.tar',
  operator: 'operator.tar',
  previous: 'previous.tar',
  previousSource: 'previous',
} as const;

interface Builds {
  readonly folder: string;
  readonly report: (line: string) => void;
}

/** Builds what the core of the suite needs. */
export async function buildImages({ folder, report }: Builds): Promise<void> {
  const programs = await ensureNodeBinaries({ env: process.env, report });
  await buildStaticImage(programs.pause, PAUSE_IMAGE, join(folder, FILES.pause));
  await buildStaticImage(programs.backend, BACKEND_IMAGE, join(folder, FILES.backend));
  const { digest } = await buildOperator(folder, report);
  report(`digest of the image: ${digest}`);
}

/** Builds the image a second time, and for the other platform; fails where the second build differs. Then the previous image. */
export async function buildMoreImages({ folder, report }: Builds): Promise<void> {
  const first = await digestIn(join(folder, FILES.operator));
  const again = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-again-'));
  try {
    const second = await buildOperator(again, report);
    report(`digest of a second build: ${second.digest}`);
    if (second.digest !== first)
      throw new Error(`two builds of one commit differ: ${first}, ${second.digest}`);
    const both = await buildImage({
      ...(await commit(ROOT, 'HEAD')),
      context: ROOT,
      architectures: ['amd64', 'arm64'],
      name: `${OPERATOR_IMAGE}:both`,
      archive: join(again, 'both.tar'),
      report,
    });
    report(`digest for linux/amd64 and linux/arm64: ${both.digest}`);
  } finally {
    await rm(again, { recursive: true, force: true });
  }
  await buildPrevious(folder, report);
}

async function buildOperator(folder: string, report: (line: string) => void): Promise<BuiltImage> {
  const of = await commit(ROOT, 'HEAD');
  return await buildImage({
    ...of,
    context: ROOT,
    architectures: [HOST_ARCHITECTURE],
    name: `${OPERATOR_IMAGE}:${of.version}`,
    archive: join(folder, FILES.operator),
    report,
  });
}

/** The newest release where there is one, else the commit before this one. */
async function buildPrevious(folder: string, report: (line: string) => void): Promise<void> {
  const revision = await git('describe', '--tags', '--abbrev=0', '--match', 'v*', 'HEAD^').catch(() =>
    git('rev-parse', 'HEAD^'),
  );
  const context = join(folder, FILES.previousSource);
  await mkdir(context);
  const archive = join(folder, 'source.tar');
  await git('archive', '--output', archive, revision);
  await promisify(execFile)('tar', ['-xf', archive, '-C', context]);
  await rm(archive);
  await buildImage({
    ...(await commit(context, revision)),
    context,
    architectures: [HOST_ARCHITECTURE],
    name: `${OPERATOR_IMAGE}:${PREVIOUS_TAG}`,
    archive: join(folder, FILES.previous),
    report,
  });
}

async function commit(context: string, revision: string) {
  const manifest = JSON.parse(await readFile(join(context, 'package.json'), 'utf8')) as { version: string };
  return {
    version: manifest.version,
    revision: await git('rev-parse', `${revision}^{commit}`),
    epochSeconds: Number(await git('log', '-1', '--format=%ct', revision)),
  };
}

async function git(...args: string[]): Promise<string> {
  return (await promisify(execFile)('git', args, { cwd: ROOT })).stdout.trim();
}

async function digestIn(archive: string): Promise<string> {
  const { stdout } = await promisify(execFile)('tar', ['-xOf', archive, 'index.json']);
  return (JSON.parse(stdout) as { manifests: readonly { digest: string }[] }).manifests[0]?.digest ?? '';
}
