import type { ObservedUpstream } from './model.ts';
import { labelledAs, labelledObject } from './ownership.ts';

/** An object that wants an upstream id. */
export interface Claimant {
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339. */
  readonly creationTimestamp: string;
}

/**
 * Who keeps an id that several objects of one connection want: the one that the labels on the gateway's own object
 * name; else the oldest; else the first by namespace and name.
 */
export function keeperOf<T extends Claimant>(
  claimants: readonly T[],
  observed: ObservedUpstream | undefined,
): T | undefined {
  if (observed !== undefined) {
    const owner = labelledObject(observed);
    const named = claimants.find(({ namespace, name }) => labelledAs(namespace, name) === owner);
    if (named !== undefined) return named;
  }
  return [...claimants].sort(
    (a, b) =>
      compare(a.creationTimestamp, b.creationTimestamp) ||
      compare(a.namespace, b.namespace) ||
      compare(a.name, b.name),
  )[0];
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
