/** The duration of a step or a test file. */
export interface Duration {
  readonly name: string;
  readonly ms: number;
}

export interface Skipped {
  readonly name: string;
  /** The argument of `skip()`. */
  readonly reason: string;
}

export interface Results {
  readonly passed: number;
  readonly failed: number;
  readonly durations: readonly Duration[];
  readonly skipped: readonly Skipped[];
}

export const NOTHING: Results = { passed: 0, failed: 0, durations: [], skipped: [] };

export function add(one: Results, other: Results): Results {
  return {
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    durations: [...one.durations, ...other.durations],
    skipped: [...one.skipped, ...other.skipped],
  };
}

/** The durations (slowest first), the skipped tests with their reasons, and one line with the totals. */
export function summary({ passed, failed, durations, skipped }: Results): string {
  const rows = [...durations].sort((one, other) => other.ms - one.ms);
  return [
    ...rows.map(({ name, ms }) => `${(ms / 1000).toFixed(1).padStart(8)} s  ${name}`),
    ...skipped.map(({ name, reason }) => `skipped  ${name}: ${reason}`),
    `${passed} passed, ${failed} failed, ${skipped.length} skipped`,
    '',
  ].join('\n');
}
