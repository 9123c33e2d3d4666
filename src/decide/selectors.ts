import type { LabelSelector } from '../api/label-selector.ts';
import type { NamespaceSelector } from '../api/namespace-selector.ts';
import { namePattern } from './name-pattern.ts';

/** The part of a namespace that access rules read. */
export interface NamespaceFacts {
  readonly name: string;
  /** Undefined until the namespace is read: unknown labels are not absent labels. */
  readonly labels: Readonly<Record<string, string>> | undefined;
}

/** Whether `labels` match by the rules of Kubernetes label selectors; an empty selector matches everything. */
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

/** Whether a pattern matches the whole `name`; `broken` is the result for an unusable pattern. */
function matchesWhole(
  patterns: readonly string[] | undefined,
  name: string,
  broken: 'matches' | 'differs',
): boolean {
  return (patterns ?? []).some((source) => {
    const pattern = namePattern(source);
    // An unusable pattern fails closed: in `match` it allows nothing, in `notMatch` it denies every name.
    return pattern.kind === 'usable' ? pattern.matches(name) : broken === 'matches';
  });
}

/** The problems with the patterns in `allowed`, for a condition message; undefined if all are valid. */
export function patternProblem(allowed: NamespaceSelector | undefined): string | undefined {
  const problems = [...(allowed?.match ?? []), ...(allowed?.notMatch ?? [])].flatMap((source) => {
    const pattern = namePattern(source);
    return pattern.kind === 'usable' ? [] : [`${source} cannot be used because ${pattern.why}`];
  });
  return problems.length === 0 ? undefined : problems.join('; ');
}

/**
 * Whether `allowed` selects the namespace: the union of names, match and selector, minus notMatch. `unknown`: the result
 * depends on labels that have not been read yet.
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
