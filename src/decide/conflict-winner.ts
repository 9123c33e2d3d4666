import { compareText } from '../model/keys.ts';
import type { ObservedUpstream } from '../model/upstream.ts';
import { markedAs, markedObject } from './ownership.ts';

/** An object that wants an upstream id. */
export interface Contender {
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339. */
  readonly creationTimestamp: string;
}

/**
 * What is known of the gateway when the winner is chosen.
 * - `listed`: what it holds as the id, if anything.
 * - `unknown`: it was not asked yet, or did not answer.
 */
export type Evidence<T> =
  | { readonly kind: 'listed'; readonly observed: ObservedUpstream | undefined }
  | { readonly kind: 'unknown'; readonly heldBefore: (contender: T) => boolean };

/**
 * The object that gets an id that several objects of one connection want: the one that the labels on the gateway's own
 * object name; else the oldest; else the first by namespace and name. While the gateway does not answer, the object that
 * had the id keeps it: an outage decides nothing.
 */
export function winnerOf<T extends Contender>(
  contenders: readonly T[],
  evidence: Evidence<T>,
): T | undefined {
  const named = contenders.find((contender) =>
    evidence.kind === 'unknown'
      ? evidence.heldBefore(contender)
      : evidence.observed !== undefined &&
        markedObject(evidence.observed) === markedAs(contender.namespace, contender.name),
  );
  return (
    named ??
    [...contenders].sort(
      (a, b) =>
        compareText(a.creationTimestamp, b.creationTimestamp) ||
        compareText(a.namespace, b.namespace) ||
        compareText(a.name, b.name),
    )[0]
  );
}
