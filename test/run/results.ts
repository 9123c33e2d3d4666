/** The duration of a step or a test file. */
export interface Duration {
  readonly name: string;
  readonly ms: number;
}

/** A test that was skipped (the argument of `skip()`), or a step, file or test that failed (the first line of its error). */
export interface Explained {
  readonly name: string;
  readonly reason: string;
}

export interface Results {
  readonly passed: number;
  readonly failed: readonly Explained[];
  readonly durations: readonly Duration[];
  readonly skipped: readonly Explained[];
}

export const NOTHING: Results = { passed: 0, failed: [], durations: [], skipped: [] };

export function add(one: Results, other: Results): Results {
  return {
    passed: one.passed + other.passed,
    failed: [...one.failed, ...other.failed],
    durations: [...one.durations, ...other.durations],
    skipped: [...one.skipped, ...other.skipped],
  };
}

/** The durations (slowest first), what was skipped and what failed with the reasons, and one line with the totals. */
export function summary({ passed, failed, durations, skipped }: Results): string {
  const rows = [...durations].sort((one, other) => other.ms - one.ms);
  return [
    ...rows.map(({ name, ms }) => `${(ms / 1000).toFixed(1).padStart(8)} s  ${name}`),
    ...skipped.map(({ name, reason }) => `skipped  ${name}: ${reason}`),
    ...failed.map(({ name, reason }) => `failed   ${name}: ${reason}`),
    `${passed} passed, ${failed.length} failed, ${skipped.length} skipped`,
    '',
  ].join('\n');
}
