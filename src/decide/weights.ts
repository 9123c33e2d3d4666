/** One backend as the weighing sees it. */
export interface WeightedGroup {
  /** The backend's share relative to the others, >= 0. */
  readonly weight: number;
  /** The weight of each of its endpoints within the backend, >= 0; all 1 for a Service. */
  readonly units: readonly number[];
}

export interface Weighed {
  /** The weight of each endpoint, in the order given. */
  readonly weights: readonly (readonly number[])[];
  /** What the bounds do not allow; empty where everything is as it was asked for. */
  readonly problems: readonly WeighingProblem[];
}

/**
 * - `shares`: the backends have their shares only nearly.
 * - `units`: so have endpoints of `group`, of which some should have more than others.
 * - `sum`: with at least 1 for every endpoint the sum is larger than it may be.
 */
export type WeighingProblem =
  | { readonly kind: 'shares' | 'sum' }
  | { readonly kind: 'units'; readonly group: number };

const TOLERANCE = 0.01;

/**
 * Integer weights for every endpoint such that each backend gets its share of the sum however many endpoints it has:
 * within 1 % of the share itself, no endpoint of positive share at 0, the sum at most `maxSum`, and the sum as small
 * as was found. Where that is impossible the weights are the nearest that were found. The result of a backend does not
 * depend on the order of the backends.
 *
 * One backend alone keeps its endpoints' own weights. A backend of weight 0 gets nothing but zeros; one without
 * endpoints gives its share away to the others.
 */
export function weigh(groups: readonly WeightedGroup[], maxSum: number): Weighed {
  const totals = groups.map((group) => sumOf(group.units));
  const active = groups.map((group, index) => group.weight > 0 && (totals[index] ?? 0) > 0);
  const activeCount = active.filter(Boolean).length;
  const zero = groups.map((group) => group.units.map(() => 0));
  if (activeCount === 0) return { weights: zero, problems: [] };

  const weightSum = groups.reduce(
    (sum, group, index) => sum + (active[index] === true ? group.weight : 0),
    0,
  );
  const shares = groups.map((group, index) => (active[index] === true ? group.weight / weightSum : 0));
  const units = fitted(
    groups.map((group, index) =>
      active[index] === true ? reduced(group.units, activeCount > 1, maxSum) : [],
    ),
    shares,
    maxSum,
  );
  const sums = units.map(sumOf);

  const { factors, error } = smallestFactors(sums, shares, maxSum);
  const weights = groups.map((group, index) => {
    const factor = factors[index] ?? 0;
    return group.units.map((_, position) => (units[index]?.[position] ?? 0) * factor);
  });
  const total = sums.reduce((running, sum, index) => running + sum * (factors[index] ?? 0), 0);
  return {
    weights,
    problems: [
      ...(error > TOLERANCE ? [{ kind: 'shares' } as const] : []),
      ...groups.flatMap((group, index) =>
        unitError(group.units, units[index] ?? []) > TOLERANCE
          ? [{ kind: 'units', group: index } as const]
          : [],
      ),
      ...(total > maxSum ? [{ kind: 'sum' } as const] : []),
    ],
  };
}

/** How far the share of an endpoint within its backend is off at most; `reduced` is empty for a backend that gets nothing. */
function unitError(units: readonly number[], reduced: readonly number[]): number {
  const [sum, reducedSum] = [sumOf(units), sumOf(reduced)];
  if (sum === 0 || reducedSum === 0) return 0;
  let error = 0;
  for (const [position, unit] of units.entries()) {
    if (unit === 0) continue;
    error = Math.max(error, Math.abs((reduced[position] ?? 0) / reducedSum / (unit / sum) - 1));
  }
  return error;
}

interface Factors {
  readonly factors: readonly number[];
  /** How far a share is off at most. */
  readonly error: number;
}

/** Of the results of `smallestFactors`: endpoints come and go, and the same numbers of them come again. */
const MAX_REMEMBERED = 2000;
const remembered = new Map<string, Factors>();

/** `searchFactors`, which is pure, but once for the same numbers. */
function smallestFactors(sums: readonly number[], shares: readonly number[], maxSum: number): Factors {
  const key = `${maxSum};${sums.join()};${shares.join()}`;
  const known = remembered.get(key);
  if (known !== undefined) return known;
  const found = searchFactors(sums, shares, maxSum);
  if (remembered.size >= MAX_REMEMBERED) remembered.clear();
  remembered.set(key, found);
  return found;
}

/**
 * Factors x with sum(sums * x) <= maxSum and each share within the tolerance; the first that a sweep over growing sums
 * finds, else those of the smallest error. The sweep may have 10,000 steps, so that a step allocates nothing and ends at the
 * first share that is no better than the best result so far.
 */
export function searchFactors(sums: readonly number[], shares: readonly number[], maxSum: number): Factors {
  const active = [...sums.keys()].filter((index) => (sums[index] ?? 0) > 0);
  const size = active.length;
  const sum = Float64Array.from(active, (index) => sums[index] ?? 0);
  const share = Float64Array.from(active, (index) => shares[index] ?? 0);
  const factor = new Float64Array(size).fill(1);
  let best = factor.slice();
  let total = totalOf(sum, factor);
  let error = worstShare(sum, share, factor, total, Number.POSITIVE_INFINITY);
  for (let target = total; target <= maxSum && error > TOLERANCE; target += 1) {
    const before = total;
    for (let at = 0; at < size; at += 1) {
      factor[at] = Math.max(1, Math.round((target * (share[at] ?? 0)) / (sum[at] ?? 1)));
    }
    total = totalOf(sum, factor);
    // Factors only grow with the target: all that follow are too large, or these are the ones of the step before.
    if (total > maxSum) break;
    if (total === before) continue;
    const found = worstShare(sum, share, factor, total, error);
    if (found < error) [best, error] = [factor.slice(), found];
  }
  const factors = sums.map(() => 0);
  for (const [at, index] of active.entries()) factors[index] = best[at] ?? 0;
  return { factors, error };
}

function totalOf(sum: Float64Array, factor: Float64Array): number {
  let total = 0;
  for (let at = 0; at < sum.length; at += 1) total += (sum[at] ?? 0) * (factor[at] ?? 0);
  return total;
}

/** How far a share is off at most, or the first that is off by `enough` or more. */
function worstShare(
  sum: Float64Array,
  share: Float64Array,
  factor: Float64Array,
  total: number,
  enough: number,
): number {
  let worst = 0;
  for (let at = 0; at < sum.length && worst < enough; at += 1) {
    const wanted = share[at] ?? 0;
    if (wanted <= 0) continue;
    worst = Math.max(worst, Math.abs(((sum[at] ?? 0) * (factor[at] ?? 0)) / total / wanted - 1));
  }
  return worst;
}

/** The endpoints' own weights in their smallest form: by the common divisor where `divide`, and scaled into `maxSum`. */
function reduced(units: readonly number[], divide: boolean, maxSum: number): readonly number[] {
  const divisor = divide ? units.reduce(greatestCommonDivisor, 0) : 1;
  return scaled(divisor > 1 ? units.map((unit) => unit / divisor) : units, maxSum);
}

/** `units` of all backends so that they add up to `maxSum` at most, each backend's scaled into its share of it. */
function fitted(
  units: readonly (readonly number[])[],
  shares: readonly number[],
  maxSum: number,
): readonly (readonly number[])[] {
  if (sumOf(units.map(sumOf)) <= maxSum) return units;
  const least = units.map((list) => list.filter((unit) => unit > 0).length);
  const budgets = divided(maxSum, shares, least);
  return units.map((list, index) => scaled(list, Math.floor(budgets[index] ?? 0)));
}

/** Whole numbers in the proportions of `units` that add up to `maxSum` at most, as far as each is at least 1. */
function scaled(units: readonly number[], maxSum: number): readonly number[] {
  if (sumOf(units) <= maxSum) return units;
  const parts = divided(
    maxSum,
    units,
    units.map((unit) => (unit > 0 ? 1 : 0)),
  );
  return units.map((unit, position) => (unit === 0 ? 0 : Math.max(1, Math.floor(parts[position] ?? 1))));
}

/** `total` divided in proportion to `values`, but so that each part has at least what `least` says, as far as that goes. */
function divided(total: number, values: readonly number[], least: readonly number[]): readonly number[] {
  const parts = [...least];
  let open = values.flatMap((value, index) => (value > 0 ? [index] : []));
  for (;;) {
    const left = total - sumOf(parts) + sumOf(open.map((index) => least[index] ?? 0));
    const scale = left / sumOf(open.map((index) => values[index] ?? 0));
    const partOf = (index: number) => (values[index] ?? 0) * scale;
    const enough = open.filter((index) => partOf(index) >= (least[index] ?? 0));
    if (enough.length === open.length) {
      for (const index of open) parts[index] = partOf(index);
      return parts;
    }
    open = enough;
  }
}

function sumOf(list: readonly number[]): number {
  return list.reduce((sum, value) => sum + value, 0);
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
