import { isDeepStrictEqual } from 'node:util';
import type { CompleteAnswer, Discovered, UnknownAnswer } from '../model/discovered.ts';
import type { Reference } from '../model/reference.ts';
import type { ResolvedBackend } from './backends.ts';

/** The last complete answer of a source for a backend. */
export interface LastAnswer {
  readonly ref: Reference;
  readonly answer: CompleteAnswer;
}

/** `outdated`: why the source has no current answer; `answer` is then its last complete one. */
export interface Answered {
  readonly answer: CompleteAnswer;
  readonly outdated?: UnknownAnswer;
}

/** `found`, or the last complete answer for `ref` if `found` is unknown: one backend must not stop the others. */
export function completeAnswer(
  ref: Reference,
  found: Discovered,
  lastAnswers: readonly LastAnswer[],
): Answered | UnknownAnswer {
  if (found.state !== 'unknown') return { answer: found };
  const last = lastAnswers.find((one) => isDeepStrictEqual(one.ref, ref));
  return last === undefined ? found : { answer: last.answer, outdated: found };
}

/** The answers to keep for the next reconcile. */
export function lastAnswersOf(backends: readonly ResolvedBackend[]): readonly LastAnswer[] {
  return backends.flatMap((backend) =>
    'found' in backend && backend.answer !== undefined
      ? [{ ref: backend.target.ref, answer: backend.answer }]
      : [],
  );
}
