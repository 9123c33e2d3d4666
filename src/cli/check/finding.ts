import { KubeApiError } from '../../kube/kube-error.ts';

/** One line of `check`. */
export interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly message: string;
  /** A sentence. Absent if the check passed, or if `message` comes from a condition and contains the remedy. */
  readonly remedy?: string;
}

export const SOLVE_FIRST = 'fix the failures above first';

/** One line per finding, and a summary. */
export function findingsText(findings: readonly Finding[]): string {
  const lines = findings.map(({ ok, name, message, remedy }) => {
    const what = `${ok ? 'ok  ' : 'FAIL'}  ${name}: ${message}`;
    return remedy === undefined ? what : `${what}. Remedy: ${remedy}`;
  });
  const failed = findings.filter(({ ok }) => !ok).length;
  lines.push(failed === 0 ? 'All checks passed.' : `${failed} of ${findings.length} checks failed.`);
  return `${lines.join('\n')}\n`;
}

export function findingsJson(findings: readonly Finding[]): string {
  return `${JSON.stringify({ ok: findings.every(({ ok }) => ok), checks: findings }, undefined, 2)}\n`;
}

export const fine = (name: string, message: string): Finding => ({ name, ok: true, message });
export const failed = (name: string, message: string, remedy: string | undefined): Finding => ({
  name,
  ok: false,
  message,
  ...(remedy === undefined ? {} : { remedy: sentence(remedy) }),
});

function sentence(clause: string): string {
  return `${clause.slice(0, 1).toUpperCase()}${clause.slice(1)}.`;
}

export function kubeError(error: unknown): KubeApiError {
  if (!(error instanceof KubeApiError)) throw error;
  return error;
}
