/** One backend as input of `weigh`. */
export interface WeightedGroup {
  /** The backend's share relative to the others, >= 0. */
  readonly weight: number;
  /** The weight of each of its endpoints within the backend, >= 0; all 1 for a Service. */
  readonly units: readonly number[];
}

export interface Weighed {
  /** The weight of each endpoint, in the order of the input. */
  readonly weights: readonly (readonly number[])[];
  /** Where the weights differ from the request because of the limits; empty if they do not. */
  readonly problems: readonly WeighingProblem[];
}

/**
 * - `shares`: the shares of the backends are approximate.
 * - `units`: the weights of the endpoints within backend `group` are approximate.
 * - `sum`: the sum exceeds the maximum, because every endpoint has a weight of at least 1.
 */
export type WeighingProblem =
  | { readonly kind: 'shares' | 'sum' }
  | { readonly kind: 'units'; readonly group: number };

const TOLERANCE = 0.01;

/**
 * Integer weights for every endpoint such that each backend receives its share of the sum, whatever its number of
 * endpoints. Each share is within 1 % of its target, no endpoint with a positive share has weight 0, and the sum is at most
 * `maxSum` and as small as the search finds. If that is impossible, the result is the closest approximation that the search
 * finds. The result of a backend does not depend on the order of the backends.
 *
 * A single backend keeps the weights of its endpoints. A backend of weight 0 receives only zeros. The share of a backend
 * without endpoints goes to the other backends.
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

/**
 * The largest relative error of an endpoint's share within its backend; `reduced` is empty for a backend without traffic.
 */
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
  /** The largest relative error of a share. */
  readonly error: number;
}

/** The cache size of `smallestFactors`: the same numbers of endpoints recur when workloads scale. */
const MAX_REMEMBERED = 2000;
const remembered = new Map<string, Factors>();

/** `searchFactors` with a cache. */
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
 * Factors x with sum(sums * x) <= maxSum and each share within the tolerance: the first that a search over growing sums
 * finds, otherwise those with the smallest error. The search may take 10,000 steps. Therefore a step allocates nothing and
 * stops at the first share that is no better than the best result so far.
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
    // Factors only grow with the target, so all later ones are too large, too. An equal total means equal factors.
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

/** The largest relative error of a share; stops at the first error of at least `enough`. */
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

/**
 * The endpoints' own weights in their smallest form: divided by their common divisor if `divide`, and scaled to `maxSum`.
 */
function reduced(units: readonly number[], divide: boolean, maxSum: number): readonly number[] {
  const divisor = divide ? units.reduce(greatestCommonDivisor, 0) : 1;
  return scaled(divisor > 1 ? units.map((unit) => unit / divisor) : units, maxSum);
}

/** Scales the `units` of each backend to its share of `maxSum`, so that they add up to at most `maxSum`. */
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

/** Integers in the proportions of `units` that add up to at most `maxSum`, unless a minimum of 1 each requires more. */
function scaled(units: readonly number[], maxSum: number): readonly number[] {
  if (sumOf(units) <= maxSum) return units;
  const parts = divided(
    maxSum,
    units,
    units.map((unit) => (unit > 0 ? 1 : 0)),
  );
  return units.map((unit, position) => (unit === 0 ? 0 : Math.max(1, Math.floor(parts[position] ?? 1))));
}

/** Divides `total` in proportion to `values`, with at least `least` for each part as far as possible. */
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
