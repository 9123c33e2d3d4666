import { describe, expect, it } from 'vitest';
import { isAllowed, productionLicences } from '../support/licences.ts';

describe('licences of the packages in the image', () => {
  it('are all permissive', async () => {
    const licences = await productionLicences(new URL('../../', import.meta.url));
    expect(licences.map(({ name }) => name)).toEqual(expect.arrayContaining(['got', 'pino', 'yaml', 'zod']));
    expect(licences.map(({ name }) => name)).not.toContain('vitest');
    expect(licences.filter(({ licence }) => !isAllowed(licence))).toEqual([]);
  });

  it.each([
    ['MIT', true],
    ['(MIT OR GPL-3.0-only)', true],
    ['MIT AND ISC', true],
    ['MIT AND GPL-3.0-only', false],
    ['GPL-3.0-only', false],
    ['SEE LICENSE IN FILE', false],
    ['unknown', false],
  ])('%s: %s', (licence, expected) => {
    expect(isAllowed(licence)).toBe(expected);
  });
});
