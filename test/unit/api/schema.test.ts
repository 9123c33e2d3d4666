import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { durationMs, durationString, withRules } from '../../../src/api/schema.ts';

describe('durations', () => {
  it.each<[string, number]>([
    ['0s', 0],
    ['500ms', 500],
    ['1s', 1000],
    ['1m', 60_000],
    ['1h', 3_600_000],
    ['1m30s', 90_000],
    ['1h1m1s1ms', 3_661_001],
    ['1.5s', 1500],
    ['0.5h', 1_800_000],
    ['1.005s', 1005],
    ['2.3s', 2300],
    ['1s1s', 2000],
    ['90m', 5_400_000],
    ['10m', 600_000],
  ])('parses %s as %i ms', (text, ms) => {
    expect(durationString.safeParse(text).success).toBe(true);
    expect(durationMs(text)).toBe(ms);
  });

  it.each([
    '',
    '10',
    '1',
    's',
    '-1s',
    '+1s',
    '1 s',
    ' 1s',
    '1s ',
    '1d',
    '1us',
    '1S',
    '.5s',
    '5.s',
    '1s\n',
    'P1D',
    '1s,2s',
  ])('rejects %j', (text) => {
    expect(durationString.safeParse(text).success).toBe(false);
  });

  it.each([10, null, true, {}])('rejects %o', (value) => {
    expect(durationString.safeParse(value).success).toBe(false);
  });

  it('adds up the parts of a duration in any order', () => {
    const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
    const part = fc.tuple(fc.nat(99), fc.constantFrom(...(['ms', 's', 'm', 'h'] as const)));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const text = parts.map(([amount, name]) => `${amount}${name}`).join('');
        expect(durationString.safeParse(text).success).toBe(true);
        expect(durationMs(text)).toBe(parts.reduce((sum, [amount, name]) => sum + amount * unit[name], 0));
      }),
    );
  });
});

describe('withRules', () => {
  const even = withRules(z.int(), [
    { rule: 'self % 2 == 0', message: 'must be even', holds: (value) => value % 2 === 0 },
    { rule: 'self == oldSelf', message: 'must stay', fieldPath: '.x' },
  ]);

  it('checks every rule except transition rules in the operator', () => {
    expect(even.safeParse(2).success).toBe(true);
    expect(even.safeParse(3).error?.issues.map(({ message }) => message)).toEqual(['must be even']);
  });

  it('passes every rule to the API server', () => {
    expect(z.toJSONSchema(even)).toMatchObject({
      'x-kubernetes-validations': [
        { rule: 'self % 2 == 0', message: 'must be even' },
        { rule: 'self == oldSelf', message: 'must stay', fieldPath: '.x' },
      ],
    });
  });

  it('keeps the rules when a description is added later', () => {
    const described = z.toJSONSchema(even.describe('a number'));
    expect(described).toMatchObject({ description: 'a number', 'x-kubernetes-validations': [{}, {}] });
  });
});
