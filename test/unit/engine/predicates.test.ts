import { describe, expect, it } from 'vitest';
import { concernsNamespace, concernsNode, concernsObject } from '../../../src/engine/predicates.ts';
import { transformNamespace, transformNode } from '../../../src/kube/objects.ts';
import type { GatewayUpstream, NamespaceStored, NodeStored } from '../../../src/model/objects.ts';
import { transformGatewayUpstream } from '../../support/catalog.ts';

function upstream(metadata: object = {}, status: object = {}): GatewayUpstream {
  const trimmed = transformGatewayUpstream({
    metadata: { namespace: 'shop', name: 'web', uid: '1', resourceVersion: '1', generation: 1, ...metadata },
    spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }] },
    status,
  });
  if (trimmed === undefined) throw new Error('no object');
  return trimmed;
}

function namespace(labels: object, change: object = {}): NamespaceStored {
  const trimmed = transformNamespace({
    metadata: { name: 'shop', uid: '1', resourceVersion: '1', labels, ...change },
  });
  if (trimmed === undefined) throw new Error('no namespace');
  return trimmed;
}

describe('concernsObject', () => {
  it.each<[string, GatewayUpstream | undefined, GatewayUpstream | undefined, boolean]>([
    ['a new object', undefined, upstream(), true],
    ['a deleted object', upstream(), undefined, true],
    ['the same object again', upstream(), upstream({ resourceVersion: '2' }), false],
    [
      'a change of the status alone',
      upstream(),
      upstream({ resourceVersion: '2' }, { upstreamId: 'x' }),
      false,
    ],
    ['a change of labels alone', upstream(), upstream({ resourceVersion: '2', labels: { a: 'b' } }), false],
    ['a change of the spec', upstream(), upstream({ generation: 2 }), true],
    ['another object of the same name', upstream(), upstream({ uid: '2' }), true],
    ['the start of the deletion', upstream(), upstream({ deletionTimestamp: '2026-01-01T00:00:00Z' }), true],
    ['an added finalizer', upstream(), upstream({ finalizers: ['a/b'] }), true],
    [
      'a removed finalizer',
      upstream({ finalizers: ['a/b', 'a/c'] }),
      upstream({ finalizers: ['a/b'] }),
      true,
    ],
    ['the same finalizers', upstream({ finalizers: ['a/b'] }), upstream({ finalizers: ['a/b'] }), false],
  ])('%s: %4$s', (_, previous, current, expected) => {
    expect(concernsObject({ previous, current })).toBe(expected);
  });
});

describe('concernsNamespace', () => {
  const plain = namespace({ team: 'a' });

  it.each<[string, NamespaceStored | undefined, NamespaceStored | undefined, boolean]>([
    ['a new namespace', undefined, plain, true],
    ['a deleted namespace', plain, undefined, true],
    ['the same namespace again', plain, namespace({ team: 'a' }, { resourceVersion: '2' }), false],
    ['a change of annotations', plain, namespace({ team: 'a' }, { annotations: { a: 'b' } }), false],
    ['another label value', plain, namespace({ team: 'b' }), true],
    ['an added label', plain, namespace({ team: 'a', tier: 'x' }), true],
    ['a removed label', plain, namespace({}), true],
    ['another label with the same value', plain, namespace({ crew: 'a' }), true],
    ['labels in another order', namespace({ a: '1', b: '2' }), namespace({ b: '2', a: '1' }), false],
    [
      'the start of the deletion',
      plain,
      namespace({ team: 'a' }, { deletionTimestamp: '2026-01-01T00:00:00Z' }),
      true,
    ],
  ])('%s: %4$s', (_, previous, current, expected) => {
    expect(concernsNamespace({ previous, current })).toBe(expected);
  });
});

describe('concernsNode', () => {
  const node = ({
    ready = 'True',
    heartbeat = '2026-01-01T00:00:00Z',
    address = '192.0.2.1',
    spec = {},
    labels = {},
  } = {}): NodeStored => {
    const trimmed = transformNode({
      metadata: { name: 'n1', uid: '1', resourceVersion: heartbeat, labels },
      spec,
      status: {
        conditions: [
          { type: 'MemoryPressure', status: 'False', lastHeartbeatTime: heartbeat },
          { type: 'Ready', status: ready, lastHeartbeatTime: heartbeat },
        ],
        addresses: [{ type: 'InternalIP', address }],
      },
    });
    if (trimmed === undefined) throw new Error('no node');
    return trimmed;
  };

  it.each<[string, NodeStored | undefined, NodeStored | undefined, boolean]>([
    ['a new node', undefined, node(), true],
    ['a deleted node', node(), undefined, true],
    ['a heartbeat', node(), node({ heartbeat: '2026-01-01T00:05:00Z' }), false],
    ['a cordoned node', node(), node({ spec: { unschedulable: true } }), false],
    ['a node that becomes unready', node(), node({ ready: 'False' }), true],
    ['a node whose readiness is unknown', node(), node({ ready: 'Unknown' }), true],
    ['another address', node(), node({ address: '192.0.2.2' }), true],
    ['another label', node(), node({ labels: { a: 'b' } }), true],
  ])('%s', (_, previous, current, expected) => {
    expect(concernsNode({ previous, current })).toBe(expected);
  });
});
