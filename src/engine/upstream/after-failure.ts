import {
  GatewayAuthError,
  GatewayUnavailableError,
  type OperatorError,
  WriteRefusedError,
} from '../../model/errors.ts';
import type { Result } from '../../runtime/work-queue.ts';
import { UNAUTHORIZED_RETRY_MS } from '../session/write-rejection.ts';

/** Retry delay for rejected content when nothing changed in the cluster: the gateway may have changed. */
export const REJECTED_RETRY_MS = 600_000;

const done: Result = { kind: 'done' };
export const whenGatewayMayHaveChanged: Result = { kind: 'after', delayMs: REJECTED_RETRY_MS };

/** When to retry after a failed request. While the whole gateway is unavailable, its recovery triggers the retries. */
export function afterFailure(error: OperatorError, isGatewayFailing: boolean): Result {
  if (isGatewayFailing) return done;
  // A new key creates a new session. Until then, single writes find out whether the gateway accepts writes again.
  if (error instanceof GatewayAuthError || error instanceof WriteRefusedError) {
    return { kind: 'after', delayMs: UNAUTHORIZED_RETRY_MS };
  }
  if (error.reason === 'Rejected') return whenGatewayMayHaveChanged;
  if (error instanceof GatewayUnavailableError && error.retryAfterMs !== undefined) {
    return { kind: 'after', delayMs: error.retryAfterMs };
  }
  return { kind: 'backoff' };
}
