import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Architecture, BASE_SOURCES, HOST_ARCHITECTURE } from './base-image.ts';
import { checkedOutCommit } from './commit.ts';
import { buildImage } from './operator-image.ts';

/**
 * `npm run image -- [--platform linux/amd64,linux/arm64] [--output FILE] [--base registry|local]` writes the operator's image
 * as an OCI archive. Two runs on one commit and one base image write the same image.
 */

const root = fileURLToPath(new URL('../../../', import.meta.url));
const { values } = parseArgs({
  options: {
    platform: { type: 'string', default: `linux/${HOST_ARCHITECTURE}` },
    base: { type: 'string', default: 'registry' },
    output: { type: 'string', default: 'gateway-upstream-operator.tar' },
  },
});

const architectures = values.platform.split(',').map((platform): Architecture => {
  const [, architecture] = platform.split('/');
  if (architecture === 'amd64' || architecture === 'arm64') return architecture;
  throw new Error(`--platform ${platform}: the image is built for linux/amd64 and linux/arm64`);
});
const base = BASE_SOURCES.find((source) => source === values.base);
if (base === undefined)
  throw new Error(`--base ${values.base}: the base image is one of ${BASE_SOURCES.join(', ')}`);
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
const archive = resolve(values.output);
const { digest, engine } = await buildImage({
  ...(await checkedOutCommit(root)),
  base,
  context: root,
  architectures,
  name: `gateway-upstream-operator:${version}`,
  archive,
  version,
  report: (line) => process.stderr.write(`${line}\n`),
});
process.stdout.write(`${archive}\n${digest} (version ${version}, ${architectures.join(', ')}, ${engine})\n`);
