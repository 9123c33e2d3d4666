import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weigh } from '../../../src/core/weights.ts';

const service = (weight: number, endpoints: number) => ({ weight, units: Array<number>(endpoints).fill(1) });
const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0);

describe('weigh', () => {
  it.each([
    ['one backend alone: every endpoint weighs 1', [service(7, 3)], [[1, 1, 1]]],
    [
      'halves of equal size',
      [service(1, 2), service(1, 2)],
      [
        [1, 1],
        [1, 1],
      ],
    ],
    [
      'halves of unequal size',
      [service(1, 3), service(1, 4)],
      [
        [4, 4, 4],
        [3, 3, 3, 3],
      ],
    ],
    ['a canary at 10 %', [service(90, 1), service(10, 1)], [[9], [1]]],
    ['a backend of weight 0 gets nothing', [service(1, 1), service(0, 2)], [[1], [0, 0]]],
    ['a backend without endpoints gives its share away', [service(1, 2), service(99, 0)], [[1, 1], []]],
    ['addresses alone keep their own weights', [{ weight: 1, units: [10, 20] }], [[10, 20]]],
    ['no endpoint anywhere', [service(1, 0)], [[]]],
    ['every backend at weight 0', [service(0, 1), service(0, 1)], [[0], [0]]],
  ])('%s', (_, groups, expected) => {
    expect(weigh(groups, 10_000)).toEqual({ weights: expected, exact: true });
  });

  it('says so where the bounds forbid the shares, and keeps every endpoint in', () => {
    const { weights, exact } = weigh([service(100, 1), service(1, 900)], 1000);
    expect(exact).toBe(false);
    expect(weights[1]?.every((weight) => weight === 1)).toBe(true);
    expect(sum(weights.flat())).toBeLessThanOrEqual(1000);
  });

  const groups = fc.array(
    fc.record({ weight: fc.integer({ min: 0, max: 100 }), size: fc.integer({ min: 0, max: 40 }) }),
    {
      minLength: 1,
      maxLength: 6,
    },
  );

  it('gives every backend its share within 1 % of it, or says that it cannot; never a 0 for a weighted one', () => {
    fc.assert(
      fc.property(groups, (list) => {
        const input = list.map(({ weight, size }) => service(weight, size));
        const { weights, exact } = weigh(input, 10_000);
        const total = sum(weights.flat());
        expect(total).toBeLessThanOrEqual(10_000);
        const shareSum = sum(list.filter(({ size }) => size > 0).map(({ weight }) => weight));
        for (const [index, { weight, size }] of list.entries()) {
          const mine = weights[index] ?? [];
          expect(new Set(mine).size).toBeLessThanOrEqual(1);
          if (size === 0) continue;
          expect((mine[0] ?? 0) > 0).toBe(weight > 0);
          if (exact && weight > 0) {
            expect(Math.abs(sum(mine) / total / (weight / shareSum) - 1)).toBeLessThanOrEqual(0.01 + 1e-9);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('does not depend on the order of the backends', () => {
    fc.assert(
      fc.property(groups, (list) => {
        const input = list.map(({ weight, size }) => service(weight, size));
        const forward = weigh(input, 10_000).weights;
        const backward = weigh([...input].reverse(), 10_000).weights;
        expect([...backward].reverse()).toEqual(forward);
      }),
      { numRuns: 500 },
    );
  });

  it('finds the smallest sum for two backends, as brute force does', () => {
    fc.assert(
      fc.property(
        fc.tuple(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 10 })),
        fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })),
        ([w1, w2], [n1, n2]) => {
          const { weights, exact } = weigh([service(w1, n1), service(w2, n2)], 10_000);
          expect(exact).toBe(true);
          const total = sum(weights.flat());
          const within = (x: number, y: number) =>
            Math.abs((n1 * x) / (n1 * x + n2 * y) / (w1 / (w1 + w2)) - 1) <= 0.01 &&
            Math.abs((n2 * y) / (n1 * x + n2 * y) / (w2 / (w1 + w2)) - 1) <= 0.01;
          for (let x = 1; x * n1 < total; x += 1) {
            for (let y = 1; x * n1 + y * n2 < total; y += 1) expect(within(x, y)).toBe(false);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
