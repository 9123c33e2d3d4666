import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

interface Entry {
  readonly link?: boolean;
  readonly inBundle?: boolean;
  readonly resolved?: string;
  readonly integrity?: string;
}

const lock = JSON.parse(await readFile(new URL('../../package-lock.json', import.meta.url), 'utf8')) as {
  readonly packages: Readonly<Record<string, Entry>>;
};
/** The packages that `npm ci` downloads on any platform: all except this package, links and bundled packages. */
const downloaded = Object.entries(lock.packages).filter(
  ([path, { link, inBundle }]) => path !== '' && link !== true && inBundle !== true,
);

describe('package-lock.json', () => {
  it('has an integrity hash for every package, so that `npm ci` verifies what it downloads', () => {
    expect(downloaded.length).toBeGreaterThan(200);
    const unverified = downloaded.filter(([, { integrity }]) => !/^sha512-\S{88}$/.test(integrity ?? ''));
    expect(unverified.map(([path]) => path)).toEqual([]);
  });

  it('names no registry, so that `npm ci` uses the configured one', () => {
    expect(downloaded.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
  });
});
