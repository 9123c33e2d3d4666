import { describe, expect, it } from 'vitest';
import { nodeChanges, nodeLine } from '../../../src/decide/diff.ts';

const node = { host: '10.0.0.1', port: 80, weight: 1, priority: 0 };
const lines = (before: object, after: object) =>
  nodeChanges([{ ...node, ...before }], [{ ...node, ...after }]).map(nodeLine);

describe('nodeChanges', () => {
  it('shows a node whose weight, priority or mark changes', () => {
    expect(lines({}, { weight: 2, priority: 1 })).toEqual(['~ 10.0.0.1:80 weight 1 -> 2, priority 0 -> 1']);
    expect(lines({}, { backendMark: '0a1b2c3d' })).toEqual(['~ 10.0.0.1:80 mark of its backend']);
    expect(lines({ backendMark: '0a1b2c3d' }, { weight: 2 })).toEqual([
      '~ 10.0.0.1:80 weight 1 -> 2, mark of its backend',
    ]);
  });

  it('shows nothing if the nodes are equal', () => {
    expect(lines({ backendMark: '0a1b2c3d' }, { backendMark: '0a1b2c3d' })).toEqual([]);
  });
});
