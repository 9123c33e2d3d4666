import type { LabelSelector } from '../api/label-selector.ts';
import type { NamespaceSelector } from '../api/namespace-selector.ts';
import { namePattern } from './name-pattern.ts';

/** A namespace as access rules see it. */
export interface NamespaceFacts {
  readonly name: string;
  /** Undefined while the namespace has not been read: unknown labels are not absent labels. */
  readonly labels: Readonly<Record<string, string>> | undefined;
}

/** Whether `labels` match, by the rules of Kubernetes; an empty selector matches everything. */
export function matchesSelector(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  return (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case 'In':
        return value !== undefined && (values ?? []).includes(value);
      case 'NotIn':
        return value === undefined || !(values ?? []).includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return operator satisfies never;
    }
  });
}

/** Whether one of `patterns` matches the whole of `name`; `broken` is the answer of one that cannot be used. */
function matchesWhole(
  patterns: readonly string[] | undefined,
  name: string,
  broken: 'matches' | 'differs',
): boolean {
  return (patterns ?? []).some((source) => {
    const pattern = namePattern(source);
    // What cannot be used must not open a door: it allows nothing, and forbids all.
    return pattern.kind === 'usable' ? pattern.matches(name) : broken === 'matches';
  });
}

/** What is wrong with the patterns of `allowed`, for the condition of its object; undefined: nothing. */
export function patternProblem(allowed: NamespaceSelector | undefined): string | undefined {
  const problems = [...(allowed?.match ?? []), ...(allowed?.notMatch ?? [])].flatMap((source) => {
    const pattern = namePattern(source);
    return pattern.kind === 'usable' ? [] : [`${source} cannot be used because ${pattern.why}`];
  });
  return problems.length === 0 ? undefined : problems.join('; ');
}

/**
 * Whether the connection lets objects of `namespace` use it: the union of names, match and selector, less notMatch.
 * `unknown`: its labels decide, and they are not known.
 */
export function isNamespaceAllowed(
  allowed: NamespaceSelector | undefined,
  { name, labels }: NamespaceFacts,
): boolean | 'unknown' {
  if (allowed === undefined || matchesWhole(allowed.notMatch, name, 'matches')) return false;
  if (
    allowed.all === true ||
    (allowed.names ?? []).includes(name) ||
    matchesWhole(allowed.match, name, 'differs')
  )
    return true;
  if (allowed.selector === undefined) return false;
  return labels === undefined ? 'unknown' : matchesSelector(allowed.selector, labels);
}
