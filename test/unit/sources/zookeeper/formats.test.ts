import { describe, expect, it } from 'vitest';
import { FORMATS } from '../../../../src/sources/zookeeper/formats.ts';
import { endpointsOf } from '../../../../src/sources/zookeeper/instances.ts';
import { zooKeeper } from '../../../../src/sources/zookeeper/registry-type.ts';
import { type ZooKeeperFormat, zooKeeperRegistry } from '../../../../src/sources/zookeeper/schema.ts';

const curator = (data: object | string) =>
  FORMATS.Curator.ofData?.(Buffer.from(typeof data === 'string' ? data : JSON.stringify(data)));
const dubbo = (url: string) => FORMATS.DubboInterface.ofName?.(encodeURIComponent(url));

const UNREADABLE = { address: '', port: undefined, weight: 1, metadata: {} };

describe('an instance of Curator', () => {
  const instance = {
    name: 'orders',
    id: 'id-1',
    address: '10.0.0.1',
    port: 8080,
    sslPort: null,
    payload: {
      '@class': 'ZookeeperInstance',
      metadata: { instance_status: 'UP', zone: 'a', size: 1, list: [] },
    },
  };

  it('has address, port and metadata, without entries that are no text and no number', () => {
    expect(curator(instance)).toEqual({
      address: '10.0.0.1',
      port: 8080,
      weight: 1,
      metadata: { instance_status: 'UP', zone: 'a', size: '1' },
    });
  });

  it.each([
    ['the port', { port: 80, sslPort: 443 }, 80],
    ['the secure port if it has no other', { port: null, sslPort: 443 }, 443],
    ['no port if both are missing', { port: null }, undefined],
    ['no port if it is not valid', { port: 70_000 }, undefined],
  ])('uses %s', (_, ports, expected) => {
    expect(curator({ ...instance, ...ports })?.port).toBe(expected);
  });

  it.each([
    [{}, undefined],
    [{ enabled: true }, undefined],
    [{ enabled: false }, 'disabled'],
    [{ payload: { metadata: { instance_status: 'OUT_OF_SERVICE' } } }, 'disabled'],
    [{ payload: { metadata: { instance_status: 'DOWN' } } }, 'notReady'],
    [{ payload: 'text' }, undefined],
  ])('with %j is %s', (fields, state) => {
    expect(curator({ ...instance, ...fields })?.state).toBe(state);
  });

  it.each([
    ['3', 3],
    ['0', 0],
    ['-1', 1],
    ['heavy', 1],
  ])('with the metadata weight %s has weight %d', (weight, expected) => {
    expect(curator({ ...instance, payload: { metadata: { weight } } })?.weight).toBe(expected);
  });

  it.each(['no JSON', '{}', '[]', 'null', '{"address": 1}', '\xff'])('cannot be read from %s', (data) => {
    expect(curator(data)).toEqual(UNREADABLE);
  });

  it('is not a node without data', () => {
    expect(curator('')).toBeUndefined();
  });
});

describe('a provider of Dubbo', () => {
  it('has the address, and its parameters as metadata', () => {
    expect(
      dubbo('dubbo://10.0.0.1:20880/com.example.Orders?application=orders&group=blue&version=1.0.0'),
    ).toEqual({
      address: '10.0.0.1',
      port: 20_880,
      weight: 1,
      metadata: { protocol: 'dubbo', application: 'orders', group: 'blue', version: '1.0.0' },
    });
  });

  it.each([
    ['weight=200', { weight: 2 }],
    ['weight=0', { weight: 0 }],
    ['weight=heavy', { weight: 1 }],
    ['disabled=true', { state: 'disabled' }],
    ['enabled=false', { state: 'disabled' }],
    ['disabled=false&deprecated=true', { weight: 1 }],
  ])('with %s: %j', (query, expected) => {
    const found = dubbo(`tri://10.0.0.1:50051/com.example.Orders?${query}`);
    expect(found).toMatchObject(expected);
    expect(found?.state).toBe((expected as { readonly state?: string }).state);
  });

  it.each([
    ['dubbo://[2001:db8::1]:20880/a?x=1', '2001:db8::1', 20_880],
    ['dubbo://user:word@10.0.0.1:20880/a?x=1', '10.0.0.1', 20_880],
    ['rest://host.example.com/a?x=1', 'host.example.com', undefined],
    ['dubbo://10.0.0.1:0/a', '10.0.0.1', undefined],
    ['dubbo://10.0.0.1:99999/a', '10.0.0.1', undefined],
  ])('%s has its place', (url, address, port) => {
    expect(dubbo(url)).toMatchObject({ address, port });
  });

  it.each(['orders', '%', 'dubbo://', 'dubbo://10.0.0.1', '10.0.0.1:20880'])(
    'cannot be read from %s',
    (url) => {
      expect(FORMATS.DubboInterface.ofName?.(url)).toEqual(UNREADABLE);
    },
  );

  it('is below the encoded name of the interface', () => {
    expect(FORMATS.DubboInterface.nodeOf('com.example.Outer$Inner')).toBe(
      'com.example.Outer%24Inner/providers',
    );
  });
});

describe('endpoints', () => {
  it('of an entry that cannot be read have an address that no gateway accepts', () => {
    expect(endpointsOf([UNREADABLE])).toMatchObject([{ address: '?', ready: true, port: undefined }]);
  });

  it('of a disabled instance are terminating', () => {
    expect(endpointsOf([{ ...UNREADABLE, address: '10.0.0.1', state: 'disabled' }])).toMatchObject([
      { address: '10.0.0.1', family: 'IPv4', ready: false, serving: false, terminating: true },
    ]);
  });
});

describe('a saved answer', () => {
  it('has instances of Curator, or providers of Dubbo', () => {
    const read = (format: ZooKeeperFormat, answer: unknown) => {
      const section = zooKeeperRegistry.parse({ servers: ['zookeeper:2181'], format });
      return zooKeeper.saved.read(answer, { service: 'a', section })?.endpoints(undefined);
    };
    const providers = [encodeURIComponent('dubbo://10.0.0.1:80/a')];
    expect(read('Curator', [{ address: '10.0.0.1', port: 80 }])).toMatchObject([{ address: '10.0.0.1' }]);
    expect(read('DubboInterface', providers)).toMatchObject([{ address: '10.0.0.1', port: 80 }]);
    expect(read('Curator', [])).toEqual([]);
    for (const answer of [{}, [{ port: 80 }], providers]) expect(read('Curator', answer)).toBeUndefined();
  });
});
