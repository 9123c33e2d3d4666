import {
  GatewayAuthError,
  GatewayUnavailableError,
  type OperatorError,
  WriteRefusedError,
} from '../../model/errors.ts';
import type { Result } from '../../runtime/work-queue.ts';
import { UNAUTHORIZED_RETRY_MS } from '../session/write-rejection.ts';

/** Before refused content is tried again although nothing changed: the gateway may have. */
export const REJECTED_RETRY_MS = 600_000;

const done: Result = { kind: 'done' };
export const whenGatewayMayHaveChanged: Result = { kind: 'after', delayMs: REJECTED_RETRY_MS };

/** When to try again after a request failed. While the whole gateway fails, its recovery brings every object back. */
export function afterFailure(error: OperatorError, isGatewayFailing: boolean): Result {
  if (isGatewayFailing) return done;
  // Another key makes another session; the write of one object finds out for all whether this session may write by now.
  if (error instanceof GatewayAuthError || error instanceof WriteRefusedError) {
    return { kind: 'after', delayMs: UNAUTHORIZED_RETRY_MS };
  }
  if (error.reason === 'Rejected') return whenGatewayMayHaveChanged;
  if (error instanceof GatewayUnavailableError && error.retryAfterMs !== undefined) {
    return { kind: 'after', delayMs: error.retryAfterMs };
  }
  return { kind: 'backoff' };
}
