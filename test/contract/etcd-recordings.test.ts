import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.ts';
import { etcd } from '../../src/sources/etcd/registry-type.ts';
import {
  type EtcdBackend,
  type EtcdFormat,
  etcdBackend,
  etcdRegistry,
} from '../../src/sources/etcd/schema.ts';
import { readRecording } from '../support/registries/recording.ts';

/** What a backend gets of the keys that a writer had written `after` a step, in a registry with the default prefix. */
async function read(
  writer: string,
  format: EtcdFormat,
  service: string,
  after = 'register',
  options: EtcdBackend = {},
): Promise<readonly Endpoint[]> {
  const { answers } = await readRecording(`etcd-${writer}-client`);
  const answer = answers.find((one) => one.after === after);
  const section = etcdRegistry.parse({ servers: ['http://etcd:2379'], format });
  const saved = etcd.saved.read(answer?.body, { service, section });
  if (saved === undefined) throw new Error(`no answer of ${writer} after ${after}`);
  return saved.endpoints(etcdBackend.parse(options));
}

function shown({ address, port, weight, metadata }: Endpoint): string {
  return `${address} ${port ?? 'no port'}, weight ${weight}, ${JSON.stringify(metadata)}`;
}

const WRITERS: readonly {
  readonly writer: string;
  readonly format: EtcdFormat;
  readonly service: string;
  readonly first: string;
  readonly others: readonly string[];
  /** Services with names that begin with the name of `service`. */
  readonly longer: Readonly<Record<string, readonly string[]>>;
}[] = [
  {
    writer: 'kratos',
    format: 'Kratos',
    service: 'orders',
    first: '198.51.100.1 8000, weight 20, {"weight":"20","zone":"a"}',
    others: ['2001:db8::1 8000, weight 100, {}'],
    longer: { 'orders-canary': ['198.51.100.4'], 'orders/canary': ['198.51.100.3'] },
  },
  {
    writer: 'go-zero',
    format: 'GoZero',
    service: 'orders.rpc',
    first: '198.51.100.1 8080, weight 1, {}',
    others: ['2001:db8::1 8080, weight 1, {}'],
    longer: { 'orders.rpc-canary': ['198.51.100.3'] },
  },
  {
    writer: 'kitex',
    format: 'Kitex',
    service: 'orders',
    first: '198.51.100.1 8888, weight 20, {"version":"v2","zone":"a"}',
    others: ['2001:db8::1 8888, weight 10, {}'],
    longer: { 'orders-canary': ['198.51.100.4'] },
  },
  {
    writer: 'go-micro',
    format: 'GoMicro',
    service: 'orders',
    first: '198.51.100.1 8080, weight 1, {"team":"shop","protocol":"http","zone":"a"}',
    others: ['2001:db8::1 8080, weight 1, {"team":"shop","protocol":"http","zone":"a"}'],
    // go-micro writes both below the same key.
    longer: { 'orders-canary': ['198.51.100.4'], 'orders/canary': ['198.51.100.3'] },
  },
  {
    writer: 'grpc',
    format: 'GRPC',
    service: 'orders',
    first: '198.51.100.1 8080, weight 1, {"zone":"a"}',
    others: ['2001:db8::1 8080, weight 1, {}', '198.51.100.2 8080, weight 1, {}'],
    longer: { 'orders-canary': ['198.51.100.4'], 'orders/canary': ['198.51.100.3'] },
  },
];

describe.each(WRITERS)(
  'instances that $writer registers',
  ({ writer, format, service, first, others, longer }) => {
    it('are read with weights and metadata', async () => {
      expect((await read(writer, format, service)).map(shown)).toEqual([first, ...others]);
    });

    it('are gone when they are deregistered', async () => {
      expect((await read(writer, format, service, 'deregister')).map(shown)).toEqual(others);
    });

    it.each(Object.entries(longer))('do not include those of %s, and reverse', async (other, addresses) => {
      expect((await read(writer, format, other)).map(({ address }) => address)).toEqual(addresses);
    });
  },
);

it('an instance that Kratos registers has an endpoint per scheme', async () => {
  const endpoints = await read('kratos', 'Kratos', 'orders', 'register', { scheme: 'grpc' });
  expect(endpoints.map(({ address, port }) => `${address} ${port}`)).toEqual([
    '198.51.100.1 9000',
    // Without an endpoint for gRPC, it is excluded.
    '? undefined',
  ]);
});
