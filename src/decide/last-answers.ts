import { isDeepStrictEqual } from 'node:util';
import type { CompleteAnswer, Discovered, UnknownAnswer } from '../model/discovered.ts';
import type { Reference } from '../model/reference.ts';
import type { ResolvedBackend } from './backends.ts';
import type { RegistryAddresses } from './registry-instances.ts';

/** The last complete answer of a source for a backend. */
export interface LastAnswer {
  readonly ref: Reference;
  readonly answer: CompleteAnswer;
  /** The addresses that the registry allowed. */
  readonly registryAddresses?: RegistryAddresses;
}

/** `outdated`: why the source has no current answer; `answer` is then its last complete one. */
export interface Answered {
  readonly answer: CompleteAnswer;
  readonly outdated?: UnknownAnswer;
  /** With `outdated`: the addresses that the registry allowed. */
  readonly registryAddresses?: RegistryAddresses;
}

/** The answer of a registry that once listed instances of a service, and lists none now. */
export const withoutInstances: CompleteAnswer = {
  state: 'known',
  endpoints: [],
  basis: '',
};

/** Whether `found` is the answer of a registry that has listed no instance since the operator asks it. */
export function unseenAnswer(ref: Reference, found: { readonly state: string }): boolean {
  return ref.source === 'Registry' && found.state === 'absent';
}

/** Whether the service of `backend` is one that its registry has never listed. */
export function isUnlisted(backend: ResolvedBackend | undefined): boolean {
  return backend !== undefined && 'found' in backend && unseenAnswer(backend.target.ref, backend.found);
}

/**
 * `found`, or the last complete answer for `ref` if `found` is unknown: one backend must not stop the others. A service that
 * was known stays known, also after its ServiceRegistry was changed.
 */
export function completeAnswer(
  ref: Reference,
  found: Discovered,
  lastAnswers: readonly LastAnswer[],
): Answered | UnknownAnswer {
  if (found.state !== 'unknown' && !unseenAnswer(ref, found)) return { answer: found };
  const last = lastAnswers.find((one) => isDeepStrictEqual(one.ref, ref));
  if (found.state !== 'unknown') {
    return { answer: last?.answer.state === 'known' ? withoutInstances : found };
  }
  if (last === undefined) return found;
  const { ref: _ref, ...answered } = last;
  return { ...answered, outdated: found };
}

/** The answers to keep for the next reconcile. */
export function lastAnswersOf(backends: readonly ResolvedBackend[]): readonly LastAnswer[] {
  return backends.flatMap((backend) =>
    'found' in backend && backend.answer !== undefined
      ? [{ ref: backend.target.ref, answer: backend.answer, ...addressesOf(backend) }]
      : [],
  );
}

function addressesOf({
  registryAddresses,
}: Extract<ResolvedBackend, { found: unknown }>): Pick<LastAnswer, 'registryAddresses'> {
  return registryAddresses === undefined ? {} : { registryAddresses };
}
