import { expect, it } from 'vitest';
import { instanceAddress } from '../../../../src/sources/registry-source/instance-address.ts';

it.each([
  ['10.0.0.1', { address: '10.0.0.1', family: 'IPv4' }],
  ['2001:DB8:0:0::1', { address: '2001:db8::1', family: 'IPv6' }],
  ['::ffff:10.0.0.1', { address: '::ffff:a00:1', family: 'IPv6' }],
  ['::', { address: '::', family: 'IPv6' }],
  ['DB.example.com', { address: 'db.example.com' }],
  ['010.0.0.1', { address: '010.0.0.1' }],
  ['fe80::1%eth0', { address: 'fe80::1%eth0' }],
  ['', { address: '?' }],
  ['a\n\u001b[31mb', { address: 'a??[31mb' }],
  ['http://a/', { address: 'http://a/' }],
  ['ä'.repeat(1000), { address: '?'.repeat(253) }],
])('reads %j', (text, expected) => {
  expect(instanceAddress(text)).toEqual(expected);
});
