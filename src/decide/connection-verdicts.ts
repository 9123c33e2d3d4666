import type { Reason } from '../api/reasons.ts';
import { GatewayAuthError, type OperatorError } from '../model/errors.ts';
import type { GatewayConnection } from '../model/objects.ts';
import type { Verdict } from '../model/verdict.ts';
import { patternProblem } from './selectors.ts';

/** The state of the gateway of a connection. */
export type GatewayStanding =
  /** The connection cannot be used. */
  | { readonly kind: 'unusable'; readonly reason: Reason; readonly message: string }
  | { readonly kind: 'starting' }
  | { readonly kind: 'failing'; readonly error: OperatorError }
  /** `writeRefused`: the gateway answers but rejects every write. `unlistable`: its list of upstreams is too large. */
  | {
      readonly kind: 'ready';
      readonly writeRefused: OperatorError | undefined;
      readonly unlistable: OperatorError | undefined;
    };

export interface ConnectionVerdicts {
  readonly reachable: Verdict;
  readonly authorized: Verdict;
  /** Why the connection cannot be used, or only in part; absent if there is no problem. */
  readonly problem?: Verdict;
}

const REACHABLE: Verdict = { status: 'True', reason: 'Reachable', message: 'The gateway answers' };
const AUTHORIZED: Verdict = { status: 'True', reason: 'Authorized', message: 'The gateway accepts the key' };
export const CONNECTION_READY: Verdict = {
  status: 'True',
  reason: 'Ready',
  message: 'The gateway answers and accepts the key',
};

export function connectionVerdicts(standing: GatewayStanding): ConnectionVerdicts {
  switch (standing.kind) {
    case 'unusable': {
      const { reason, message } = standing;
      const unknown: Verdict = { status: 'Unknown', reason, message };
      return { reachable: unknown, authorized: unknown, problem: { status: 'False', reason, message } };
    }
    case 'starting': {
      const pending: Verdict = {
        status: 'Unknown',
        reason: 'Pending',
        message: 'Waiting for the gateway to answer',
      };
      return { reachable: pending, authorized: pending };
    }
    case 'failing':
      return failingVerdicts(standing.error);
    case 'ready': {
      const { writeRefused, unlistable } = standing;
      const authorized = writeRefused === undefined ? AUTHORIZED : falseVerdict(writeRefused);
      const problem = unlistable === undefined ? {} : { problem: unlistableVerdict(unlistable) };
      return { reachable: REACHABLE, authorized, ...problem };
    }
    default:
      return standing satisfies never;
  }
}

function failingVerdicts(error: OperatorError): ConnectionVerdicts {
  if (error instanceof GatewayAuthError) return { reachable: REACHABLE, authorized: falseVerdict(error) };
  return {
    reachable: falseVerdict(error),
    authorized: {
      status: 'Unknown',
      reason: error.reason,
      message: 'Not checked because the gateway is unavailable',
    },
  };
}

function unlistableVerdict({ message }: OperatorError): Verdict {
  return {
    status: 'False',
    reason: 'ListTooLarge',
    message: `${message}. Until then, the operator reads each upstream before it writes it, and does not find upstreams without a GatewayUpstream`,
  };
}

function falseVerdict({ reason, message }: OperatorError): Verdict {
  return { status: 'False', reason, message };
}

/** `Ready` if `allowedNamespaces` has an invalid pattern; undefined otherwise. */
export function patternVerdict({ spec }: GatewayConnection): Verdict | undefined {
  const problem = spec.ok ? patternProblem(spec.value.allowedNamespaces) : undefined;
  if (problem === undefined) return undefined;
  return { status: 'False', reason: 'InvalidSpec', message: `spec.allowedNamespaces: ${problem}` };
}
