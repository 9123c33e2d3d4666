import { compareText } from '../model/keys.ts';
import type { ObservedUpstream } from '../model/upstream.ts';
import { markedAs, markedObject } from './ownership.ts';

/** An object that asks for an upstream id. */
export interface Contender {
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339. */
  readonly creationTimestamp: string;
}

/**
 * What the gateway reports about the id.
 * - `listed`: the upstream with the id, if any.
 * - `unknown`: the operator has not read the gateway yet, or the gateway did not answer.
 */
export type Evidence<T> =
  | { readonly kind: 'listed'; readonly observed: ObservedUpstream | undefined }
  | { readonly kind: 'unknown'; readonly heldBefore: (contender: T) => boolean };

/**
 * The object that may use an id that several objects of one connection ask for: the object that the ownership labels in the
 * gateway name; otherwise the oldest; otherwise the first by namespace and name. While the gateway does not answer, the
 * object that had the id keeps it, so that an outage changes nothing.
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
