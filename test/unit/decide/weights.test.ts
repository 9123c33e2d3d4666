import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { searchFactors, weigh } from '../../../src/decide/weights.ts';

const service = (weight: number, endpoints: number) => ({ weight, units: Array<number>(endpoints).fill(1) });
const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0);

describe('weigh', () => {
  it.each([
    ['gives every endpoint of a single backend weight 1', [service(7, 3)], [[1, 1, 1]]],
    [
      'splits in half between backends of equal size',
      [service(1, 2), service(1, 2)],
      [
        [1, 1],
        [1, 1],
      ],
    ],
    [
      'splits in half between backends of unequal size',
      [service(1, 3), service(1, 4)],
      [
        [4, 4, 4],
        [3, 3, 3, 3],
      ],
    ],
    ['gives a canary 10 %', [service(90, 1), service(10, 1)], [[9], [1]]],
    ['gives a backend of weight 0 nothing', [service(1, 1), service(0, 2)], [[1], [0, 0]]],
    ['distributes the share of a backend without endpoints', [service(1, 2), service(99, 0)], [[1, 1], []]],
    ['keeps the weights of addresses in a single backend', [{ weight: 1, units: [10, 20] }], [[10, 20]]],
    ['returns no weights without endpoints', [service(1, 0)], [[]]],
    ['returns zeros if all backends have weight 0', [service(0, 1), service(0, 1)], [[0], [0]]],
  ])('%s', (_, groups, expected) => {
    expect(weigh(groups, 10_000)).toEqual({ weights: expected, problems: [] });
  });

  it('reports shares that the maximum sum prevents, and keeps every endpoint', () => {
    const { weights, problems } = weigh([service(100, 1), service(1, 900)], 1000);
    expect(problems).toEqual([{ kind: 'shares' }]);
    expect(weights[1]?.every((weight) => weight === 1)).toBe(true);
    expect(sum(weights.flat())).toBeLessThanOrEqual(1000);
  });

  /** One backend, given the number of endpoints for each weight. */
  const zones = (weight: number, ...counts: readonly (readonly [unit: number, count: number])[]) => ({
    weight,
    units: counts.flatMap(([unit, count]) => Array<number>(count).fill(unit)),
  });

  it('reports more endpoints than the maximum sum', () => {
    const { weights, problems } = weigh([service(1, 5000)], 1000);
    expect(sum(weights.flat())).toBe(5000);
    expect(problems).toEqual([{ kind: 'sum' }]);
    expect(weigh([service(1, 1000)], 1000).problems).toEqual([]);
    expect(weigh([service(1, 700), service(1, 700)], 1000).problems).toEqual([{ kind: 'sum' }]);
  });

  it('reports approximate weights within one backend', () => {
    const { weights, problems } = weigh([zones(1, [100, 500], [1, 500])], 10_000);
    expect(new Set(weights[0])).toEqual(new Set([19, 1]));
    expect(sum(weights.flat())).toBeLessThanOrEqual(10_000);
    expect(problems).toEqual([{ kind: 'units', group: 0 }]);
    expect(weigh([zones(1, [100, 50], [1, 50])], 10_000).problems).toEqual([]);
    const second = weigh([service(1, 10), zones(1, [100, 400], [1, 400])], 10_000);
    expect(second.problems).toContainEqual({ kind: 'units', group: 1 });
  });

  it('keeps the sum within the maximum unless there are too many endpoints', () => {
    const unit = fc.constantFrom(0, 1, 2, 7, 25, 99, 100);
    const backends = fc.array(
      fc.record({
        weight: fc.integer({ min: 0, max: 100 }),
        counts: fc.array(fc.tuple(unit, fc.integer({ min: 0, max: 300 })), { maxLength: 4 }),
      }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(backends, fc.constantFrom(1000, 10_000), (list, maxSum) => {
        const input = list.map(({ weight, counts }) => zones(weight, ...counts));
        const { weights, problems } = weigh(input, maxSum);
        const total = sum(weights.flat());
        const carrying = input.flatMap(({ weight, units }) => (weight > 0 ? units.filter((u) => u > 0) : []));
        expect(problems.some(({ kind }) => kind === 'sum')).toBe(carrying.length > maxSum);
        if (carrying.length <= maxSum) expect(total).toBeLessThanOrEqual(maxSum);
        for (const [index, { weight, units }] of input.entries()) {
          const mine = weights[index] ?? [];
          for (const [position, one] of units.entries()) {
            expect((mine[position] ?? 0) > 0).toBe(weight > 0 && one > 0);
          }
          if (problems.some((problem) => problem.kind === 'units' && problem.group === index)) continue;
          if (weight === 0) continue;
          const [asked, given] = [sum(units), sum(mine)];
          for (const [position, one] of units.entries()) {
            if (one === 0) continue;
            expect(Math.abs((mine[position] ?? 0) / given / (one / asked) - 1)).toBeLessThanOrEqual(
              0.01 + 1e-9,
            );
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  const groups = fc.array(
    fc.record({ weight: fc.integer({ min: 0, max: 100 }), size: fc.integer({ min: 0, max: 40 }) }),
    {
      minLength: 1,
      maxLength: 6,
    },
  );

  it('gives every backend its share within 1 % or reports a problem, and never weight 0', () => {
    fc.assert(
      fc.property(groups, (list) => {
        const input = list.map(({ weight, size }) => service(weight, size));
        const { weights, problems } = weigh(input, 10_000);
        const isExact = problems.length === 0;
        const total = sum(weights.flat());
        expect(total).toBeLessThanOrEqual(10_000);
        const shareSum = sum(list.filter(({ size }) => size > 0).map(({ weight }) => weight));
        for (const [index, { weight, size }] of list.entries()) {
          const mine = weights[index] ?? [];
          expect(new Set(mine).size).toBeLessThanOrEqual(1);
          if (size === 0) continue;
          expect((mine[0] ?? 0) > 0).toBe(weight > 0);
          if (isExact && weight > 0) {
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

  it('finds the same smallest sum for two backends as a brute-force search', () => {
    fc.assert(
      fc.property(
        fc.tuple(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 10 })),
        fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })),
        ([w1, w2], [n1, n2]) => {
          const { weights, problems } = weigh([service(w1, n1), service(w2, n2)], 10_000);
          expect(problems).toEqual([]);
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

/** The same search without shortcuts. */
function plainFactors(sums: readonly number[], shares: readonly number[], maxSum: number) {
  const shareError = (factors: readonly number[]) => {
    const total = sum(sums.map((one, index) => one * (factors[index] ?? 0)));
    const errors = sums.map((one, index) => {
      const share = shares[index] ?? 0;
      return share > 0 ? Math.abs((one * (factors[index] ?? 0)) / total / share - 1) : 0;
    });
    return { total, error: Math.max(0, ...errors) };
  };
  const ones = sums.map((one) => (one > 0 ? 1 : 0));
  let best = { factors: ones as number[], error: shareError(ones).error };
  for (let target = sum(sums); target <= maxSum && best.error > 0.01; target += 1) {
    const factors = sums.map((one, index) =>
      one > 0 ? Math.max(1, Math.round((target * (shares[index] ?? 0)) / one)) : 0,
    );
    const { total, error } = shareError(factors);
    if (total <= maxSum && error < best.error) best = { factors, error };
  }
  return best;
}

describe('searchFactors', () => {
  it('finds the same result as the search without shortcuts', () => {
    const backend = fc.record({
      weight: fc.integer({ min: 0, max: 100 }),
      sum: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 200 })),
    });
    fc.assert(
      fc.property(
        fc.array(backend, { minLength: 1, maxLength: 16 }),
        fc.constantFrom(100, 1000, 3000),
        (list, maxSum) => {
          const weights = list.map(({ weight, sum: own }) => (own > 0 ? weight : 0));
          const all = sum(weights);
          if (all === 0) return;
          const shares = weights.map((weight) => weight / all);
          const sums = list.map(({ sum: own }, index) => ((shares[index] ?? 0) > 0 ? own : 0));
          expect(searchFactors(sums, shares, maxSum)).toEqual(plainFactors(sums, shares, maxSum));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('searches only once for the same numbers of endpoints', () => {
    const round = vi.spyOn(Math, 'round');
    onTestFinished(() => round.mockRestore());
    // No factors reach the shares of these 16 backends, so the search ends at the maximum sum.
    const input = Array.from({ length: 16 }, (_, n) => service(1 + ((n * 37) % 100), 31 + n * 7));
    const first = weigh(input, 10_000);
    expect(first.problems).toEqual([{ kind: 'shares' }]);
    const steps = round.mock.calls.length;
    expect(steps).toBeGreaterThan(0);
    // The same numbers of endpoints come from the cache.
    expect(weigh(input, 10_000)).toEqual(first);
    expect(round.mock.calls.length).toBe(steps);
  });
});
