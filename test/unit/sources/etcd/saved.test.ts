import { describe, expect, it } from 'vitest';
import { etcd } from '../../../../src/sources/etcd/registry-type.ts';
import { etcdRegistry } from '../../../../src/sources/etcd/schema.ts';

const section = etcdRegistry.parse({ servers: ['http://etcd:2379'], format: 'HostPort' });
const header = { cluster_id: '1', revision: '7' };
const kvs = [1, 2].map((n) => ({
  key: Buffer.from(`/services/web/${n}`).toString('base64'),
  value: Buffer.from(`10.0.0.${n}:80`).toString('base64'),
}));

const read = (answer: object) => etcd.saved.read(answer, { service: 'web', section });

describe('a saved answer of etcd', () => {
  it.each([
    ['of the HTTP API', { header, kvs, count: '2' }],
    ['of etcdctl', { header, kvs, count: 2 }],
    ['without a count', { header, kvs }],
  ])('is read: %s', (_, answer) => {
    expect(read(answer)?.count).toBe(2);
  });

  it('without keys is a service without instances', () => {
    expect(read({ header })?.count).toBe(0);
  });

  it.each([
    ['has more keys on other pages', { header, kvs, more: true, count: 3 }],
    ['has fewer keys than it counts', { header, kvs, count: '3' }],
    ['has only the count of its keys', { header, count: 2 }],
  ])('is rejected if it %s', (_, answer) => {
    expect(read(answer)).toBeUndefined();
  });
});
