import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { type Architecture, HOST_ARCHITECTURE } from './base-image.ts';
import { buildImage } from './operator-image.ts';

/**
 * `npm run image -- [--platform linux/amd64,linux/arm64] [--output FILE]` writes the operator's image as an OCI archive. Two runs on
 * one commit write the same image.
 */

const root = fileURLToPath(new URL('../../../', import.meta.url));
const { values } = parseArgs({
  options: {
    platform: { type: 'string', default: `linux/${HOST_ARCHITECTURE}` },
    output: { type: 'string', default: 'gateway-upstream-operator.tar' },
  },
});

const architectures = values.platform.split(',').map((platform): Architecture => {
  const [, architecture] = platform.split('/');
  if (architecture === 'amd64' || architecture === 'arm64') return architecture;
  throw new Error(`--platform ${platform}: the image is built for linux/amd64 and linux/arm64`);
});
const git = async (...args: string[]) =>
  (await promisify(execFile)('git', args, { cwd: root })).stdout.trim();
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
const archive = resolve(values.output);
const { digest, engine } = await buildImage({
  context: root,
  architectures,
  name: `gateway-upstream-operator:${version}`,
  archive,
  version,
  revision: await git('rev-parse', 'HEAD'),
  epochSeconds: Number(await git('log', '-1', '--format=%ct')),
  report: (line) => process.stderr.write(`${line}\n`),
});
process.stdout.write(`${archive}\n${digest} (version ${version}, ${architectures.join(', ')}, ${engine})\n`);
