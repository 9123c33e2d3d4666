import { describe, expect, it } from 'vitest';
import { isAllowed, productionLicenses } from '../support/licenses.ts';

describe('the licenses of what the image holds', () => {
  it('are all permissive', async () => {
    const licenses = await productionLicenses(new URL('../../', import.meta.url));
    expect(licenses.map(({ name }) => name)).toEqual(expect.arrayContaining(['got', 'pino', 'yaml', 'zod']));
    expect(licenses.map(({ name }) => name)).not.toContain('vitest');
    expect(licenses.filter(({ license }) => !isAllowed(license))).toEqual([]);
  });

  it.each([
    ['MIT', true],
    ['(MIT OR GPL-3.0-only)', true],
    ['MIT AND ISC', true],
    ['MIT AND GPL-3.0-only', false],
    ['GPL-3.0-only', false],
    ['SEE LICENSE IN FILE', false],
    ['unknown', false],
  ])('%s: %s', (license, expected) => {
    expect(isAllowed(license)).toBe(expected);
  });
});
