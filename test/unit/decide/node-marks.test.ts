import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { markedWeights } from '../../../src/decide/node-marks.ts';
import { mergeNodes } from '../../../src/decide/nodes.ts';
import type { UpstreamNode } from '../../../src/model/upstream.ts';

const A = 'aaaaaaaa';
const B = 'bbbbbbbb';
const node = (weight: number, backendMark?: string): UpstreamNode => ({
  host: '10.0.0.1',
  port: 80,
  weight,
  priority: 0,
  ...(backendMark === undefined ? {} : { backendMark }),
});

describe('the mark of a node in several backends', () => {
  it.each<[string, readonly UpstreamNode[], string | undefined]>([
    ['is absent if no backend has a mark', [node(1), node(2)], undefined],
    ['is the mark of its only backend', [node(3, A)], A],
    ['does not contain the weight if all of it comes from one backend', [node(1, A), node(2, A)], A],
    ['names the part of each backend, in the order of the marks', [node(2, B), node(1, A)], `${A}:1,${B}:2`],
    [
      'names the part of one backend if static addresses have the same place',
      [node(2, A), node(5)],
      `${A}:2`,
    ],
    ['adds up the parts of equal backends', [node(1, A), node(2, B), node(3, A)], `${A}:4,${B}:2`],
    ['is absent if no text is a mark of this operator', [node(1, 'by hand'), node(1)], undefined],
  ])('%s', (_, nodes, expected) => {
    expect(mergeNodes(nodes)[0]?.backendMark).toBe(expected);
  });

  it('contains the share of each backend, in any order of merging', () => {
    const mark = fc.option(fc.constantFrom(A, B, 'cccccccc'), { nil: undefined });
    const list = fc.array(fc.tuple(fc.nat({ max: 10_000 }), mark), { minLength: 1, maxLength: 16 });
    fc.assert(
      fc.property(list, (parts) => {
        const [merged = node(0)] = mergeNodes(parts.map(([weight, of]) => node(weight, of)));
        const [other] = mergeNodes(parts.toReversed().map(([weight, of]) => node(weight, of)));
        expect(other).toEqual(merged);
        const sums = new Map<string, number>();
        for (const [weight, of] of parts) if (of !== undefined) sums.set(of, (sums.get(of) ?? 0) + weight);
        expect(new Map(markedWeights(merged).map((part) => [part.mark, part.weight]))).toEqual(sums);
      }),
    );
  });
});

describe('markedWeights', () => {
  it.each([
    ['no mark', undefined],
    ['an empty text', ''],
    ['another text', 'v1'],
    ['a mark in capital letters', 'AAAAAAAA'],
    ['a negative part', `${A}:-1`],
    ['a part that no weight can have', `${A}:123456`],
    ['a text that no operator writes', Array(100).fill(A).join()],
  ])('reads nothing from %s', (_, mark) => {
    expect(markedWeights(node(1, mark))).toEqual([]);
  });

  it('reads the valid marks and ignores other text', () => {
    expect(markedWeights(node(7, `x,${A}:2,${B}`))).toEqual([
      { mark: A, weight: 2 },
      { mark: B, weight: 7 },
    ]);
  });
});
