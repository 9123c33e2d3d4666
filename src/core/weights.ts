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
  /** False where the bounds forbid shares within 1 %; the weights are then the nearest that were found. */
  readonly exact: boolean;
}

const TOLERANCE = 0.01;

/**
 * Integer weights for every endpoint such that each backend gets its share of the sum however many endpoints it has:
 * within 1 % of the share itself, no endpoint of positive share at 0, the sum at most `maxSum`, and the sum as small
 * as was found. The result of a backend does not depend on the order of the backends.
 *
 * One backend alone keeps its endpoints' own weights. A backend of weight 0 gets nothing but zeros; one without
 * endpoints gives its share away to the others.
 */
export function weigh(groups: readonly WeightedGroup[], maxSum: number): Weighed {
  const totals = groups.map((group) => group.units.reduce((sum, unit) => sum + unit, 0));
  const active = groups.map((group, index) => group.weight > 0 && (totals[index] ?? 0) > 0);
  const activeCount = active.filter(Boolean).length;
  const zero = groups.map((group) => group.units.map(() => 0));
  if (activeCount === 0) return { weights: zero, exact: true };

  const units = groups.map((group, index) =>
    active[index] === true ? reduced(group.units, activeCount > 1, maxSum) : [],
  );
  const sums = units.map((list) => list.reduce((sum, unit) => sum + unit, 0));
  const weightSum = groups.reduce(
    (sum, group, index) => sum + (active[index] === true ? group.weight : 0),
    0,
  );
  const shares = groups.map((group, index) => (active[index] === true ? group.weight / weightSum : 0));

  const { factors, error } = smallestFactors(sums, shares, maxSum);
  return {
    weights: groups.map((group, index) => {
      const factor = factors[index] ?? 0;
      return group.units.map((_, position) => (units[index]?.[position] ?? 0) * factor);
    }),
    exact: error <= TOLERANCE,
  };
}

/**
 * Factors x with sum(sums * x) <= maxSum and each share within the tolerance; the first that a sweep over growing sums
 * finds, else those of the smallest error.
 */
function smallestFactors(
  sums: readonly number[],
  shares: readonly number[],
  maxSum: number,
): { readonly factors: readonly number[]; readonly error: number } {
  const ones: readonly number[] = sums.map((sum) => (sum > 0 ? 1 : 0));
  let best = { factors: ones, error: shareError(sums, shares, ones).error };
  const smallest = sums.reduce((total, sum) => total + sum, 0);
  for (let target = smallest; target <= maxSum && best.error > TOLERANCE; target += 1) {
    const factors = sums.map((sum, index) =>
      sum > 0 ? Math.max(1, Math.round((target * (shares[index] ?? 0)) / sum)) : 0,
    );
    const { total, error } = shareError(sums, shares, factors);
    if (total <= maxSum && error < best.error) best = { factors, error };
  }
  return best;
}

function shareError(
  sums: readonly number[],
  shares: readonly number[],
  factors: readonly number[],
): { readonly total: number; readonly error: number } {
  const total = sums.reduce((running, sum, index) => running + sum * (factors[index] ?? 0), 0);
  let error = 0;
  for (const [index, sum] of sums.entries()) {
    const share = shares[index] ?? 0;
    if (share > 0) error = Math.max(error, Math.abs((sum * (factors[index] ?? 0)) / total / share - 1));
  }
  return { total, error };
}

/** The endpoints' own weights in their smallest form: by the common divisor where `divide`, and scaled into `maxSum`. */
function reduced(units: readonly number[], divide: boolean, maxSum: number): readonly number[] {
  const divisor = divide ? units.reduce(greatestCommonDivisor, 0) : 1;
  const divided = divisor > 1 ? units.map((unit) => unit / divisor) : units;
  const sum = divided.reduce((total, unit) => total + unit, 0);
  if (sum <= maxSum) return divided;
  return divided.map((unit) => (unit === 0 ? 0 : Math.max(1, Math.floor((unit * maxSum) / sum))));
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
