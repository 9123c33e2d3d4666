import type {
  FollowedState,
  RegistryFacts,
  RegistryProblem,
  RegistryStanding,
} from '../../model/registry-facts.ts';
import type { Clock } from '../../runtime/clock.ts';
import { RegistryError } from './protocol.ts';

/** The last complete answer about a service, or the last result of a probe. */
interface Proof {
  readonly problem: RegistryProblem | undefined;
}

/**
 * Judges a registry by its last answers. The followed services decide while all of them fail. Otherwise the last answer
 * decides, so that one service that cannot be read does not make the whole registry look broken.
 */
export class RegistryHealth {
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #services: Record<FollowedState, number> = { waiting: 0, current: 0, failing: 0, refused: 0 };
  /** Of the last service that began to fail. */
  #serviceProblem: RegistryProblem | undefined;
  #last: Proof | undefined;
  /** When a service last answered or failed (monotonic). */
  #lastEvidenceAt = Number.NEGATIVE_INFINITY;
  #lastCompleteAnswerAt: number | undefined;

  /** `changed` is called when more than times has changed. */
  constructor(clock: Clock, changed: () => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  facts(): Omit<RegistryFacts, 'version' | 'isVersionRead' | 'api'> {
    return {
      standing: this.#standing(),
      services: { ...this.#services },
      lastCompleteAnswerAt: this.#lastCompleteAnswerAt,
    };
  }

  /** Milliseconds since a service last answered or failed. */
  get evidenceAgeMs(): number {
    return this.#clock.monotonic() - this.#lastEvidenceAt;
  }

  began(): void {
    this.#services.waiting += 1;
    this.#changed();
  }

  ended(state: FollowedState): void {
    this.#services[state] -= 1;
    this.#changed();
  }

  /** A service answered completely. `previous`: its state before. */
  answered(previous: FollowedState): void {
    this.#lastEvidenceAt = this.#clock.monotonic();
    this.#lastCompleteAnswerAt = this.#clock.now();
    this.#move(previous, 'current');
    this.#prove(undefined);
  }

  /** A service has no current answer. Returns its new state. */
  lost(previous: FollowedState, error: unknown): FollowedState {
    const state = error instanceof RegistryError && error.scope === 'service' ? 'refused' : 'failing';
    this.#lastEvidenceAt = this.#clock.monotonic();
    const problem = problemOf(error);
    const isNew = state === 'failing' && !isSame(this.#serviceProblem, problem);
    if (state === 'failing') this.#serviceProblem = problem;
    if (previous !== state) this.#move(previous, state);
    else if (isNew) this.#changed();
    return state;
  }

  /** The result of a probe; undefined if the registry answered it. */
  probed(error: unknown): void {
    this.#prove(error === undefined ? undefined : problemOf(error));
  }

  #prove(problem: RegistryProblem | undefined): void {
    const before = this.#last;
    this.#last = { problem };
    if (before === undefined || !isSame(before.problem, problem)) this.#changed();
  }

  #move(from: FollowedState, to: FollowedState): void {
    if (from === to) return;
    this.#services[from] -= 1;
    this.#services[to] += 1;
    this.#changed();
  }

  #standing(): RegistryStanding {
    const { waiting, current, failing } = this.#services;
    if (failing > 0 && waiting + current === 0 && this.#serviceProblem !== undefined) {
      return { kind: 'failing', problem: this.#serviceProblem };
    }
    if (this.#last === undefined) return { kind: 'starting' };
    const { problem } = this.#last;
    return problem === undefined ? { kind: 'answering' } : { kind: 'failing', problem };
  }
}

function problemOf(error: unknown): RegistryProblem {
  return error instanceof RegistryError
    ? { reason: error.reason, message: error.message }
    : { reason: 'Defect', message: 'internal error, see the operator log' };
}

function isSame(a: RegistryProblem | undefined, b: RegistryProblem | undefined): boolean {
  return a?.reason === b?.reason && a?.message === b?.message;
}
