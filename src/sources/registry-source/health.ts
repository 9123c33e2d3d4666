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
  /** Another server may answer. */
  readonly isOfServer: boolean;
  /** Monotonic. */
  readonly at: number;
}

/** For this long the failures of several servers count as one outage, with the failure that came first. */
const SAME_OUTAGE_MS = 10_000;

/**
 * Judges a registry by its last answers. The followed services decide while all of them fail. Otherwise the last answer
 * decides, so that one service that cannot be read does not make the whole registry look broken.
 */
export class RegistryHealth {
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #services: Record<FollowedState, number> = { waiting: 0, current: 0, failing: 0, refused: 0 };
  /** Of the last service that began to fail. */
  #serviceProof: Proof | undefined;
  #last: Proof | undefined;
  /** When a service last answered or failed (monotonic). */
  #lastEvidenceAt = Number.NEGATIVE_INFINITY;
  #lastCompleteAnswerAt: number | undefined;
  /** When the registry last answered anything completely (monotonic). */
  #lastSignOfLifeAt: number;

  /** `changed` is called when more than times has changed. */
  constructor(clock: Clock, changed: () => void) {
    this.#clock = clock;
    this.#changed = changed;
    this.#lastSignOfLifeAt = clock.monotonic();
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

  /** Milliseconds since the registry last answered anything completely. */
  get silenceMs(): number {
    return this.#clock.monotonic() - this.#lastSignOfLifeAt;
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
    this.#prove(this.#success());
  }

  /** A service has no current answer. Returns its new state. */
  lost(previous: FollowedState, error: unknown): FollowedState {
    const state = error instanceof RegistryError && error.scope === 'service' ? 'refused' : 'failing';
    this.#lastEvidenceAt = this.#clock.monotonic();
    const proof = this.#proofOf(error);
    const before = this.#serviceProof;
    const isNew = state === 'failing' && (before === undefined || this.#isNews(before, proof));
    if (isNew) this.#serviceProof = proof;
    if (previous !== state) this.#move(previous, state);
    else if (isNew) this.#changed();
    return state;
  }

  /** The result of a probe; undefined if the registry answered it. */
  probed(error: unknown): void {
    this.#prove(error === undefined ? this.#success() : this.#proofOf(error));
  }

  #prove(proof: Proof): void {
    const before = this.#last;
    if (proof.problem === undefined) this.#lastSignOfLifeAt = this.#clock.monotonic();
    if (before !== undefined && !this.#isNews(before, proof)) return;
    this.#last = proof;
    this.#changed();
  }

  /** While one server after the other is tried, each with its own failure, the first one stays for a while. */
  #isNews(before: Proof, next: Proof): boolean {
    if (isSame(before.problem, next.problem)) return false;
    const isSameOutage = before.isOfServer && next.isOfServer;
    return !isSameOutage || next.at - before.at >= SAME_OUTAGE_MS;
  }

  #success(): Proof {
    return { problem: undefined, isOfServer: false, at: this.#clock.monotonic() };
  }

  #proofOf(error: unknown): Proof {
    const isOfServer = error instanceof RegistryError && error.scope === 'server';
    return { problem: problemOf(error), isOfServer, at: this.#clock.monotonic() };
  }

  #move(from: FollowedState, to: FollowedState): void {
    if (from === to) return;
    this.#services[from] -= 1;
    this.#services[to] += 1;
    this.#changed();
  }

  #standing(): RegistryStanding {
    const { waiting, current, failing } = this.#services;
    const problemOfServices = this.#serviceProof?.problem;
    if (failing > 0 && waiting + current === 0 && problemOfServices !== undefined) {
      return { kind: 'failing', problem: problemOfServices };
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
