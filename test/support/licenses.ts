import { readFile } from 'node:fs/promises';
import { argv, exit, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';

export interface License {
  readonly name: string;
  readonly version: string;
  /** SPDX, as the package says it. */
  readonly license: string;
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
export async function productionLicenses(root: URL): Promise<readonly License[]> {
  const { packages } = JSON.parse(await readFile(new URL('package-lock.json', root), 'utf8')) as Lock;
  const places = Object.keys(packages).filter((place) => place !== '' && packages[place]?.dev !== true);
  return await Promise.all(
    places.sort().map(async (place) => {
      const text = await readFile(new URL(`${place}/package.json`, root), 'utf8');
      const { name, version, license } = JSON.parse(text) as Record<string, unknown>;
      return {
        name: String(name),
        version: String(version),
        license: typeof license === 'string' ? license : 'unknown',
      };
    }),
  );
}

/** Whether nothing but a permissive license is asked for: `A OR B` lets one choose, `A AND B` does not. */
export function isAllowed(license: string): boolean {
  return license
    .replace(/[()]/g, '')
    .split(' OR ')
    .some((choice) => choice.split(' AND ').every((one) => ALLOWED.has(one.trim())));
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const licenses = await productionLicenses(new URL('../../', import.meta.url));
  for (const { name, version, license } of licenses) {
    stdout.write(`${isAllowed(license) ? 'ok ' : 'NOT ALLOWED '}${license}\t${name} ${version}\n`);
  }
  const refused = licenses.filter(({ license }) => !isAllowed(license));
  stdout.write(`${licenses.length} packages, ${refused.length} not allowed\n`);
  exit(refused.length === 0 ? 0 : 1);
}
