import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isInRange, parseIp, parseIpRange } from '../../../src/api/ip-address.ts';

describe('parseIp', () => {
  it.each<[string, readonly number[]]>([
    ['127.0.0.1', [0x7f00, 1]],
    ['255.255.255.255', [0xffff, 0xffff]],
    ['::', [0, 0, 0, 0, 0, 0, 0, 0]],
    ['::1', [0, 0, 0, 0, 0, 0, 0, 1]],
    ['1::', [1, 0, 0, 0, 0, 0, 0, 0]],
    ['FE80::a', [0xfe80, 0, 0, 0, 0, 0, 0, 10]],
    ['1:2:3:4:5:6:7:8', [1, 2, 3, 4, 5, 6, 7, 8]],
    ['1:2:3:4:5:6:7::', [1, 2, 3, 4, 5, 6, 7, 0]],
    ['::ffff:127.0.0.1', [0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]],
    ['::ffff:7f00:1', [0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]],
    ['64:ff9b::169.254.169.254', [0x64, 0xff9b, 0, 0, 0, 0, 0xa9fe, 0xa9fe]],
  ])('parses %s', (text, groups) => {
    expect(parseIp(text)).toEqual(groups);
  });

  it.each([
    '',
    'localhost',
    '127.1',
    '2130706433',
    '0x7f.0.0.1',
    '010.0.0.1',
    '01.2.3.4',
    '256.0.0.1',
    '1.2.3.4.5',
    '1.2.3.4.',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'fe80::1%eth0',
    '[::1]',
    '127.0.0.1::',
    '::127.0.0.1:1',
  ])('rejects "%s"', (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  it('accepts exactly the addresses that Node.js accepts', () => {
    const loose = fc.stringMatching(/^[0-9a-f:.]{0,20}$/);
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), loose), (text) => {
        expect(parseIp(text) !== undefined).toBe(isIP(text) !== 0);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('IP ranges', () => {
  it.each<[string, string, boolean]>([
    ['127.0.0.0/8', '127.255.0.1', true],
    ['127.0.0.1/8', '127.9.9.9', true],
    ['127.0.0.0/8', '128.0.0.1', false],
    ['10.1.0.0/15', '10.1.255.255', true],
    ['10.2.0.0/15', '10.4.0.0', false],
    ['0.0.0.0/0', '203.0.113.1', true],
    ['192.0.2.1/32', '192.0.2.1', true],
    ['192.0.2.1/32', '192.0.2.2', false],
    ['fe80::/10', 'febf:ffff::1', true],
    ['fe80::/10', 'fec0::1', false],
    ['::/0', '2001:db8::1', true],
    ['::1/128', '::1', true],
    ['::/0', '127.0.0.1', false],
    ['0.0.0.0/0', '::', false],
  ])('%s contains %s: %s', (range, address, expected) => {
    const parsed = parseIpRange(range);
    const ip = parseIp(address);
    if (parsed === undefined || ip === undefined) throw new Error('could not be parsed');
    expect(isInRange(parsed, ip)).toBe(expected);
  });

  it.each(['', '10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '::/129', '/8', '10.0.0/8', 'a/8', '10.0.0.0/-1'])(
    'rejects "%s"',
    (text) => {
      expect(parseIpRange(text)).toBeUndefined();
    },
  );
});
