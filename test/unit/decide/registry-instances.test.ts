import { describe, expect, it } from 'vitest';
import type { InstanceChoice } from '../../../src/api/registry-section.ts';
import { hostPolicy } from '../../../src/decide/host-policy.ts';
import { chooseInstances, type RegistryAddresses } from '../../../src/decide/registry-instances.ts';
import type { Endpoint } from '../../../src/model/endpoint.ts';

const instance = (fields: Partial<Endpoint> = {}): Endpoint => ({
  address: '10.0.0.1',
  family: 'IPv4',
  port: 80,
  ready: true,
  serving: true,
  terminating: false,
  ...fields,
});

const named = (address: string): Endpoint => {
  const { family: _family, ...endpoint } = instance({ address });
  return endpoint;
};

const choose = (
  endpoints: readonly Endpoint[],
  choice: Partial<InstanceChoice> = {},
  registry: Partial<RegistryAddresses> = {},
  connection: Parameters<typeof hostPolicy>[0] = {},
) =>
  chooseInstances(
    { state: 'known', endpoints, basis: '' },
    { metadata: {}, weights: 'Registry', ...choice },
    {
      registry: { names: 'Deny', ...registry },
      connection: hostPolicy(connection),
      isNamespace: (name) => name === 'shop',
    },
  );

const places = (chosen: ReturnType<typeof choose>) =>
  chosen.found.endpoints.map(({ address, port, weight }) =>
    weight === undefined ? `${address}:${port}` : `${address}:${port}=${weight}`,
  );
const reasons = (chosen: ReturnType<typeof choose>) =>
  chosen.leftOut.map(({ host, reason }) => `${host} ${reason}`);

describe('metadata', () => {
  const instances = [
    instance({ address: '10.0.0.1', metadata: { version: 'v1', zone: 'a' } }),
    instance({ address: '10.0.0.2', metadata: { version: 'v2', zone: 'b' } }),
    instance({ address: '10.0.0.3' }),
  ];

  it.each<[InstanceChoice['metadata'], readonly string[]]>([
    [{}, ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80']],
    [{ version: ['v1'] }, ['10.0.0.1:80']],
    [{ version: ['v0', 'v1', 'v2'] }, ['10.0.0.1:80', '10.0.0.2:80']],
    [{ version: ['v1', 'v2'], zone: ['b'] }, ['10.0.0.2:80']],
    [{ version: ['v1'], zone: ['b'] }, []],
    [{ Version: ['v1'] }, []],
    [{ version: [''] }, []],
    [{ constructor: ['function'] }, []],
  ])('%j selects %j', (metadata, expected) => {
    const chosen = choose(instances, { metadata });
    expect(places(chosen)).toEqual(expected);
    expect(chosen.unmatched).toBe(3 - expected.length);
    expect(chosen.leftOut).toEqual([]);
  });

  it('ignores keys of the prototype', () => {
    expect(places(choose([instance({ metadata: {} })], { metadata: { toString: ['x', ''] } }))).toEqual([]);
  });
});

describe('portFrom', () => {
  it.each([
    ['9090', '10.0.0.1:9090'],
    ['1', '10.0.0.1:1'],
    ['65535', '10.0.0.1:65535'],
    ['65536', '10.0.0.1:undefined'],
    ['0', '10.0.0.1:undefined'],
    ['080', '10.0.0.1:undefined'],
    ['9090 ', '10.0.0.1:undefined'],
    ['-1', '10.0.0.1:undefined'],
    ['1e3', '10.0.0.1:undefined'],
    ['http', '10.0.0.1:undefined'],
    ['', '10.0.0.1:undefined'],
  ])('reads %j as %s', (text, expected) => {
    expect(places(choose([instance({ metadata: { grpc: text } })], { portKey: 'grpc' }))).toEqual([expected]);
  });

  it('leaves an instance without that entry without a port', () => {
    expect(places(choose([instance()], { portKey: 'grpc' }))).toEqual(['10.0.0.1:undefined']);
  });
});

describe('weights', () => {
  const weighed = (weight: number) => choose([instance({ weight })]);

  it.each([
    [1, 100],
    [0.3, 30],
    [0.001, 1],
    [2.345, 235],
    [100, 10_000],
    [300, 30_000],
    [65_535, 6_553_500],
    [1_000_000, 6_553_500],
    [Number.POSITIVE_INFINITY, 6_553_500],
  ])('%d becomes %d', (weight, unit) => {
    expect(places(weighed(weight))).toEqual([`10.0.0.1:80=${unit}`]);
  });

  it.each([0, -1, Number.NaN])('%d excludes the instance', (weight) => {
    expect(places(weighed(weight))).toEqual([]);
    expect(weighed(weight).leftOut).toEqual([{ host: '10.0.0.1', port: 80, reason: 'WeightZero' }]);
  });

  it('are ignored with Equal, also weight 0', () => {
    const chosen = choose([instance({ weight: 0 }), instance({ address: '10.0.0.2', weight: 5 })], {
      weights: 'Equal',
    });
    expect(places(chosen)).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  });
});

describe('addresses', () => {
  it.each([
    ['127.0.0.1', 'IPv4'],
    ['169.254.169.254', 'IPv4'],
    ['0.0.0.0', 'IPv4'],
    ['224.0.0.1', 'IPv4'],
    ['255.255.255.255', 'IPv4'],
    ['::1', 'IPv6'],
    ['::', 'IPv6'],
    ['fe80::1', 'IPv6'],
    ['ff02::1', 'IPv6'],
    ['::ffff:127.0.0.1', 'IPv6'],
    ['::ffff:7f00:1', 'IPv6'],
    ['64:ff9b::a9fe:a9fe', 'IPv6'],
  ] as const)('%s is denied unless registry and connection allow it', (address, family) => {
    const instances = [instance({ address, family })];
    const all = { allow: ['0.0.0.0/0', '::/0'] };
    expect(reasons(choose(instances))).toEqual([`${address} AddressNotAllowed`]);
    expect(reasons(choose(instances, {}, all))).toEqual([`${address} AddressNotAllowed`]);
    expect(reasons(choose(instances, {}, {}, { addresses: all }))).toEqual([`${address} AddressNotAllowed`]);
    expect(reasons(choose(instances, {}, all, { addresses: all }))).toEqual([]);
  });

  it('in deny of the registry or of the connection are denied', () => {
    const instances = [instance(), instance({ address: '10.1.0.1' }), instance({ address: '10.2.0.1' })];
    const chosen = choose(instances, {}, { deny: ['10.1.0.0/16'] }, { addresses: { deny: ['10.2.0.0/16'] } });
    expect(places(chosen)).toEqual(['10.0.0.1:80']);
    expect(reasons(chosen)).toEqual(['10.1.0.1 AddressNotAllowed', '10.2.0.1 AddressNotAllowed']);
  });

  it.each(['db.example.com', 'a.b', 'xn--a.example', '_srv.example.com'])(
    'the name %s is allowed only with names: Allow',
    (name) => {
      expect(reasons(choose([named(name)]))).toEqual([`${name} AddressNotAllowed`]);
      expect(places(choose([named(name)], {}, { names: 'Allow' }))).toEqual([`${name}:80`]);
    },
  );

  it.each([
    'localhost',
    'metadata.google.internal',
    'db',
    'web.shop.svc.cluster.local',
    'web.shop.svc',
    'web.shop',
    '127.1',
    '2130706433',
    '0x7f.1',
    'a..b',
    '-a.example.com',
    'a.example.com.',
    'a b.example.com',
    '?',
    `${'a'.repeat(64)}.example.com`,
  ])('the name %s is never allowed', (name) => {
    expect(reasons(choose([named(name)], {}, { names: 'Allow' }))).toEqual([`${name} AddressNotAllowed`]);
  });
});
