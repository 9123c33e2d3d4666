import { describe, expect, it } from 'vitest';
import type { Change } from '../../../src/decide/change.ts';
import { isTakeOver, nodeRepairOf, repairOf } from '../../../src/decide/repairs.ts';
import type { Upstream } from '../../../src/model/upstream.ts';

const desired = { id: 'shop.web', labels: {}, nodes: [] } as unknown as Upstream;
const canonical = JSON.stringify({ scheme: 'http', nodes: [] });
const update = (from: 'ours' | 'stripped' | 'unowned'): Extract<Change, { kind: 'update' }> => ({
  kind: 'update',
  desired,
  observed: {
    id: 'shop.web',
    labels: {},
    nodes: [{ host: '10.0.0.1', port: 80, weight: 1, priority: 0 }],
    canonical: JSON.stringify({ scheme: 'https', nodes: [] }),
  },
  from,
});

describe('repairOf', () => {
  it('lists the changes to an upstream that is taken over', () => {
    expect(isTakeOver(update('unowned'))).toBe(true);
    expect(repairOf(update('unowned'), canonical, false)).toEqual({
      reason: 'Adopted',
      message: 'The operator took over upstream shop.web, which had no owner: - 10.0.0.1:80, ~ scheme',
    });
  });

  it('reports an upstream that lost its ownership labels, whatever else changed', () => {
    expect(repairOf(update('stripped'), canonical, true)).toMatchObject({
      reason: 'Repaired',
      message: expect.stringContaining('including its labels'),
    });
  });

  it('reports a change by another client, and nothing without one', () => {
    const create: Change = { kind: 'create', desired };
    expect(repairOf(create, canonical, true)?.reason).toBe('Repaired');
    expect(repairOf(create, canonical, false)).toBeUndefined();
    expect(repairOf(update('ours'), canonical, false)).toBeUndefined();
  });
});

describe('nodeRepairOf', () => {
  const nodes = (...hosts: readonly string[]) => JSON.stringify({ nodes: hosts });

  it('reports only a change of nodes', () => {
    expect(nodeRepairOf('shop.web', nodes('a'), nodes('b'))?.reason).toBe('Repaired');
    expect(nodeRepairOf('shop.web', nodes('a'), nodes('a'))).toBeUndefined();
    expect(nodeRepairOf('shop.web', undefined, nodes('a'))).toBeUndefined();
  });
});
