import { describe, expect, it } from 'vitest';
import { type EtcdInstance, instancesOf, keyPrefix } from '../../../../src/sources/etcd/formats.ts';
import { endpointsOf } from '../../../../src/sources/etcd/instances.ts';
import { type EtcdFormat, etcdRegistry } from '../../../../src/sources/etcd/schema.ts';

function read(format: EtcdFormat, value: unknown, rest = 'id-1', service = 'web'): readonly EtcdInstance[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return instancesOf(format, { service, rest, value: Buffer.from(text) });
}

/** `address:port`, weight and metadata of each endpoint. */
function endpoints(instances: readonly EtcdInstance[], scheme?: string) {
  return endpointsOf(instances, scheme === undefined ? undefined : { scheme }).map(
    ({ address, port, weight, metadata }) => [`${address}:${port}`, weight, metadata],
  );
}

function prefix(format: EtcdFormat, service: string, fields: object = {}): string {
  return keyPrefix(etcdRegistry.parse({ servers: ['http://etcd:2379'], format, ...fields }), service);
}

const KRATOS = {
  id: 'id-1',
  name: 'web',
  version: 'v1',
  metadata: { zone: 'a', weight: '25' },
  endpoints: ['grpc://10.0.0.1:9000?isSecure=false', 'http://10.0.0.1:8000?isSecure=false'],
};

describe('keyPrefix', () => {
  it('ends with a slash, so that service a does not match service ab', () => {
    expect(prefix('Kratos', 'a')).toBe('/microservices/a/');
    expect(prefix('Kitex', 'a')).toBe('kitex/registry-etcd/a/');
    expect(prefix('GoZero', 'a.rpc')).toBe('a.rpc/');
    expect(prefix('JSON', 'a', { prefix: '/own/' })).toBe('/own/a/');
  });

  it('writes the name of a go-micro service as one segment', () => {
    expect(prefix('GoMicro', 'shop/cart')).toBe('/micro/registry/shop-cart/');
  });
});

describe('formats', () => {
  it.each(['HostPort', 'GoZero'] as const)('reads host and port of %s', (format) => {
    expect(endpoints(read(format, '10.0.0.1:8080'))).toEqual([['10.0.0.1:8080', 1, {}]]);
    expect(endpoints(read(format, '[2001:db8::1]:8080'))).toEqual([['2001:db8::1:8080', 1, {}]]);
  });

  it('reads JSON with weight and metadata', () => {
    const value = { address: '10.0.0.1', port: 80, weight: 3, metadata: { zone: 'a', number: 1 } };
    expect(endpoints(read('JSON', value))).toEqual([['10.0.0.1:80', 3, { zone: 'a' }]]);
  });

  it('reads the state of JSON, where disabled prevails', () => {
    const value = { address: '10.0.0.1', port: 80 };
    const states = [{}, { ready: true }, { ready: false }, { ready: false, disabled: true }]
      .flatMap((fields) => endpointsOf(read('JSON', { ...value, ...fields }), undefined))
      .map(({ ready, terminating }) => [ready, terminating]);
    expect(states).toEqual([
      [true, false],
      [true, false],
      [false, false],
      [false, true],
    ]);
  });

  it('selects the endpoint of a Kratos instance by its scheme', () => {
    expect(endpoints(read('Kratos', KRATOS))).toEqual([['10.0.0.1:8000', 25, KRATOS.metadata]]);
    expect(endpoints(read('Kratos', KRATOS), 'grpc')).toEqual([['10.0.0.1:9000', 25, KRATOS.metadata]]);
  });

  it('reads weight and tags of Kitex', () => {
    const value = { network: 'tcp', address: '10.0.0.1:8888', weight: 10, tags: { zone: 'a' } };
    expect(endpoints(read('Kitex', value))).toEqual([['10.0.0.1:8888', 10, { zone: 'a' }]]);
  });

  it('reads every node of a go-micro service, with the metadata of both', () => {
    const nodes = [{ id: 'web-1', address: '10.0.0.1:8080', metadata: { zone: 'b' } }];
    const value = { name: 'web', version: 'latest', metadata: { zone: 'a', team: 'x' }, nodes };
    expect(endpoints(read('GoMicro', value))).toEqual([['10.0.0.1:8080', 1, { zone: 'b', team: 'x' }]]);
  });

  it('reads the address of a gRPC endpoint without metadata', () => {
    const value = { Op: 0, Addr: '10.0.0.1:50051', Metadata: null };
    expect(endpoints(read('GRPC', value))).toEqual([['10.0.0.1:50051', 1, {}]]);
  });
});

describe('entries of other services', () => {
  it.each(['HostPort', 'GoZero'] as const)('skips %s of service web/api below service web', (format) => {
    expect(read(format, '10.0.0.1:8080', 'api/id-1')).toEqual([]);
  });

  it('skips a Kratos instance whose value names another service', () => {
    expect(read('Kratos', { ...KRATOS, name: 'web/api' }, 'api/id-1')).toEqual([]);
    expect(read('Kratos', { ...KRATOS, name: 'webs' })).toEqual([]);
  });

  it('skips an unreadable value below service web/api', () => {
    expect(read('Kratos', '{', 'api/id-1')).toEqual([]);
  });
});

describe('unreadable values', () => {
  it.each([
    ['HostPort', 'no address'],
    ['HostPort', '10.0.0.1:0'],
    ['HostPort', '10.0.0.1:65536'],
    ['JSON', '{"address":"10.0.0.1"}'],
    ['Kratos', '{'],
    ['Kratos', JSON.stringify({ ...KRATOS, endpoints: ['http:///', 'http://10.0.0.1'] })],
    ['Kitex', '[]'],
    ['GoMicro', '"text"'],
    ['GRPC', '{}'],
  ] as const)('counts %s %j as an instance that has no usable address', (format, value) => {
    const instances = read(format, value);
    expect(instances).toHaveLength(1);
    expect(endpoints(instances)).toEqual([['?:undefined', expect.any(Number), expect.any(Object)]]);
  });
});

describe('hostile values', () => {
  it.each([
    ['HostPort', (text: string) => text],
    ['JSON', (address: string) => ({ address, port: 80 })],
    ['Kratos', (url: string) => ({ name: 'web', endpoints: [url] })],
    ['Kitex', (address: string) => ({ address, weight: 1 })],
    ['GoMicro', (address: string) => ({ name: 'web', nodes: [{ address }] })],
    ['GRPC', (address: string) => ({ Addr: address })],
  ] as const)('of the size that etcd allows do not block the operator: %s', (format, written) => {
    for (const part of [':', 'a', '1.', 'a:', '[', '[:']) {
      const value = written(`${part.repeat(1_400_000 / part.length)}x`);
      const start = performance.now();
      endpoints(read(format, value));
      expect(performance.now() - start).toBeLessThan(1000);
    }
  });
});
