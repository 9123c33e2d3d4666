/** Why a registry gave no complete answer; the label `reason` of its error metric. */
export const REGISTRY_ERROR_REASONS = [
  'Unreachable',
  'Unauthorized',
  'Filtered',
  'ServerError',
  'InvalidAnswer',
  'SecretMissing',
] as const;

export type RegistryErrorReason = (typeof REGISTRY_ERROR_REASONS)[number];

/** Why a registry as a whole cannot be used. */
export interface RegistryProblem {
  /** `Defect`: the operator failed, not the registry. */
  readonly reason: RegistryErrorReason | 'Defect';
  /** Problem and remedy. Names no service, and contains no value of the registry. */
  readonly message: string;
}

/**
 * The state of one followed service.
 * - `waiting`: no answer yet.
 * - `current`: the last complete answer is current.
 * - `failing`: the registry gives no complete answer.
 * - `refused`: the registry gives no complete answer for a reason that concerns only this service.
 */
export type FollowedState = 'waiting' | 'current' | 'failing' | 'refused';

/** Whether a registry can be used, judged by what it answered last. */
export type RegistryStanding =
  | { readonly kind: 'starting' }
  | { readonly kind: 'answering' }
  | { readonly kind: 'failing'; readonly problem: RegistryProblem };

/** What the operator knows about one registry. */
export interface RegistryFacts {
  readonly standing: RegistryStanding;
  /** Undefined if the registry does not report it, or only to clients with more rights. */
  readonly version: string | undefined;
  /** Whether the operator has asked for the version. */
  readonly isVersionRead: boolean;
  /** The API that the operator uses. Undefined if it is not known yet, or the registry has only one. */
  readonly api: string | undefined;
  /** Number of followed services by state. */
  readonly services: Readonly<Record<FollowedState, number>>;
  /** When the registry last answered completely about a service, wall clock. Undefined if it never did. */
  readonly lastCompleteAnswerAt: number | undefined;
}
