import { describe, expect, it } from 'vitest';
import { type AdminUpstream, canonicalForm } from '../../../src/gateways/apisix/translate.ts';
import { workerForm } from '../../../src/gateways/apisix/worker-form.ts';
import type { StoredItem } from '../../support/apisix-stand-in/store.ts';
import { createWorker } from '../../support/apisix-stand-in/worker.ts';

const nodes = [{ host: '10.0.0.1', port: 80, weight: 1 }];
const localhost = { host: 'localhost', port: 80, weight: 1 };
const unknown = { host: 'unknown.test', port: 80, weight: 1 };

/** The expected form of a written upstream. */
const expected = (stored: AdminUpstream) => workerForm(JSON.parse(canonicalForm(stored)) as AdminUpstream);

/** What a worker shows for `stored` before and after a request. */
function shownBy(version: string, stored: AdminUpstream): { before: AdminUpstream; after: AdminUpstream } {
  const worker = createWorker({
    version: () => version,
    resolve: (name) => (name === 'localhost' ? '127.0.0.1' : undefined),
  });
  const value = { ...stored, id: 'u', create_time: 1, update_time: 2 };
  const item: StoredItem = { key: '/apisix/upstreams/u', value, createdIndex: 1, modifiedIndex: 1 };
  const shown = () =>
    (JSON.parse(JSON.stringify(worker.shown(item))) as { readonly value: AdminUpstream }).value;
  const before = shown();
  worker.picked(worker.used(item, value));
  return { before, after: shown() };
}

const MARK = { gwu: '0a1b2c3d' };

describe('workerForm', () => {
  describe.each(['3.2.0', '3.12.0', '3.13.0', '3.14.1', '3.17.0', '3.18.0'])('of APISIX %s', (version) => {
    it.each<[string, AdminUpstream]>([
      ['one node', { nodes }],
      ['two nodes', { nodes: [...nodes, { host: '[::1]', port: 81, weight: 2, priority: -1 }] }],
      ['one LeastConn node', { nodes, type: 'least_conn' }],
      ['no nodes', { nodes: [] }],
      ['nodes by address', { nodes: { '10.0.0.1:80': 1, '10.0.0.2:81': 2 } }],
      ['a name', { nodes: [localhost] }],
      ['a name that does not resolve', { nodes: [unknown] }],
      ['a name that does not resolve, and an address', { nodes: [unknown, ...nodes] }],
      ['a node with metadata', { nodes: [{ ...localhost, metadata: { backend: 'a' } }] }],
      ['a rewritten Host header', { nodes, pass_host: 'rewrite', upstream_host: 'shop.test' }],
      ['part of a pool', { nodes, keepalive_pool: { size: 5 } }],
      ['empty tls', { nodes, scheme: 'https', tls: {} }],
      ['an empty check', { nodes, checks: { active: {} } }],
      [
        'parts of checks',
        {
          nodes,
          checks: {
            active: { type: 'tcp', healthy: { interval: 3 }, unhealthy: {} },
            passive: { healthy: {}, unhealthy: { timeouts: 1 } },
          },
        },
      ],
    ])('equals the written form before and after a request: %s', (_, stored) => {
      const { before, after } = shownBy(version, stored);
      expect(workerForm(before)).toBe(expected(stored));
      expect(workerForm(after)).toBe(expected(stored));
    });

    it.each<[string, AdminUpstream]>([
      ['another weight', { nodes: [{ ...nodes[0], weight: 2 }] }],
      ['another address', { nodes: [{ ...nodes[0], host: '10.0.0.2' }] }],
      ['a name', { nodes: [localhost] }],
      ['no nodes', { nodes: [] }],
      ['metadata', { nodes: [{ ...nodes[0], metadata: {} }] }],
      ['another field', { nodes, retries: 1 }],
      ['another section', { nodes, keepalive_pool: {} }],
      ['another scheme', { nodes, scheme: 'grpc' }],
      ['another Host header', { nodes, pass_host: 'rewrite', upstream_host: 'shop.test' }],
    ])('differs from the written form before and after a request: %s', (_, stored) => {
      const { before, after } = shownBy(version, stored);
      expect(workerForm(before)).not.toBe(expected({ nodes }));
      expect(workerForm(after)).not.toBe(expected({ nodes }));
    });

    it('distinguishes a name from its resolved address', () => {
      const { after } = shownBy(version, { nodes: [localhost] });
      expect(workerForm(after)).not.toBe(expected({ nodes: [{ ...localhost, host: '127.0.0.1' }] }));
    });
  });

  it.each<[string, AdminUpstream, AdminUpstream]>([
    [
      'one node',
      { nodes: [{ host: '127.0.0.1', port: 18081, weight: 1 }] },
      { nodes: [{ host: '127.0.0.1', port: 18081, weight: 1, upstream_host: '127.0.0.1:18081' }] },
    ],
    [
      'a name',
      { nodes: [{ host: 'localhost', port: 18081, weight: 1 }] },
      {
        nodes: [
          {
            host: '127.0.0.1',
            domain: 'localhost',
            port: 18081,
            weight: 1,
            upstream_host: 'localhost:18081',
          },
        ],
        dns_nodes: [{ host: 'localhost', port: 18081, weight: 1 }],
      },
    ],
    ['a name that does not resolve', { nodes: [unknown] }, { nodes: {}, dns_nodes: [unknown] }],
    [
      'a name that does not resolve, and an address',
      { nodes: [unknown, { host: '127.0.0.1', port: 18081, weight: 1 }] },
      {
        nodes: [{ host: '127.0.0.1', port: 18081, weight: 1, upstream_host: '127.0.0.1:18081' }],
        dns_nodes: [unknown, { host: '127.0.0.1', port: 18081, weight: 1, upstream_host: '127.0.0.1:18081' }],
      },
    ],
    ['an empty list', { nodes: [] }, { nodes: {} }],
  ])('matches recorded output of APISIX 3.18 after one request: %s', (_, written, shown) => {
    const value = {
      id: 'u',
      type: 'roundrobin',
      scheme: 'http',
      hash_on: 'vars',
      pass_host: 'pass',
      ...shown,
    };
    expect(workerForm(value)).toBe(expected(written));
  });

  /** From the source of APISIX: it copies a node with its metadata. */
  it('contains the mark of a backend, also for a name', () => {
    const name = { host: 'localhost', port: 18081, weight: 1, metadata: MARK };
    const { nodes, ...value } = {
      nodes: [{ ...name, host: '127.0.0.1', domain: 'localhost' }],
      dns_nodes: [name],
    };
    expect(workerForm({ ...value, nodes })).toBe(expected({ nodes: [name] }));
    expect(expected({ nodes: [{ ...name, metadata: undefined }] })).not.toBe(expected({ nodes: [name] }));
  });
});
