import { readFile } from 'node:fs/promises';
import { argv, exit, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';

export interface Licence {
  readonly name: string;
  readonly version: string;
  /** SPDX, as the package says it. */
  readonly licence: string;
}

/** Permissive ones, whose texts an image may carry beside Apache-2.0. */
const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'MIT',
  'PSF-2.0',
  'Unlicense',
]);

interface Lock {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly optional?: boolean }>>;
}

/** Every package that the image holds, by the lock, with what its own package.json says. `root` ends with a slash. */
export async function productionLicences(root: URL): Promise<readonly Licence[]> {
  const { packages } = JSON.parse(await readFile(new URL('package-lock.json', root), 'utf8')) as Lock;
  const places = Object.keys(packages).filter((place) => place !== '' && packages[place]?.dev !== true);
  return await Promise.all(
    places.sort().map(async (place) => {
      const text = await readFile(new URL(`${place}/package.json`, root), 'utf8');
      const { name, version, license } = JSON.parse(text) as Record<string, unknown>;
      return {
        name: String(name),
        version: String(version),
        licence: typeof license === 'string' ? license : 'unknown',
      };
    }),
  );
}

/** Whether nothing but a permissive licence is asked for: `A OR B` lets one choose, `A AND B` does not. */
export function isAllowed(licence: string): boolean {
  return licence
    .replace(/[()]/g, '')
    .split(' OR ')
    .some((choice) => choice.split(' AND ').every((one) => ALLOWED.has(one.trim())));
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const licences = await productionLicences(new URL('../../', import.meta.url));
  for (const { name, version, licence } of licences) {
    stdout.write(`${isAllowed(licence) ? 'ok ' : 'NOT ALLOWED '}${licence}\t${name} ${version}\n`);
  }
  const refused = licences.filter(({ licence }) => !isAllowed(licence));
  stdout.write(`${licences.length} packages, ${refused.length} not allowed\n`);
  exit(refused.length === 0 ? 0 : 1);
}
