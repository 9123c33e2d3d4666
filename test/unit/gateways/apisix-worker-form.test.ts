import { describe, expect, it } from 'vitest';
import { type AdminUpstream, canonicalForm } from '../../../src/gateways/apisix/translate.ts';
import { workerForm } from '../../../src/gateways/apisix/worker-form.ts';
import { workerUpstream } from '../../support/apisix-stand-in/worker-view.ts';

const nodes = [{ host: '10.0.0.1', port: 80, weight: 1 }];

/** What is expected of a worker, from what was written. */
const expected = (stored: AdminUpstream) => workerForm(JSON.parse(canonicalForm(stored)) as AdminUpstream);

describe('what a worker shows equals what was written', () => {
  it.each<[string, AdminUpstream]>([
    ['the least there is', { nodes }],
    ['no nodes', { nodes: [] }],
    ['nodes by address', { nodes: { '10.0.0.1:80': 1, '10.0.0.2:81': 2 } }],
    ['a pool in part', { nodes, keepalive_pool: { size: 5 } }],
    ['tls without more', { nodes, scheme: 'https', tls: {} }],
    ['a check without more', { nodes, checks: { active: {} } }],
    [
      'checks in part',
      {
        nodes,
        checks: {
          active: { type: 'tcp', healthy: { interval: 3 }, unhealthy: {} },
          passive: { healthy: {}, unhealthy: { timeouts: 1 } },
        },
      },
    ],
  ])('%s', (_, stored) => {
    const shown = workerUpstream({ ...stored, id: 'u', create_time: 1, update_time: 2 });
    expect(workerForm(shown)).toBe(expected(stored));
    const afterRequest = { ...shown, original_nodes: shown['nodes'], nodes_ref: [], parent: { key: '/u' } };
    expect(workerForm(afterRequest)).toBe(expected(stored));
  });

  it.each<[string, AdminUpstream]>([
    ['another weight', { nodes: [{ ...nodes[0], weight: 2 }] }],
    ['a field more', { nodes, retries: 1 }],
    ['a section more', { nodes, keepalive_pool: {} }],
    ['another scheme', { nodes, scheme: 'grpc' }],
  ])('but not %s', (_, shown) => {
    expect(workerForm(workerUpstream({ ...shown }))).not.toBe(expected({ nodes }));
  });
});
