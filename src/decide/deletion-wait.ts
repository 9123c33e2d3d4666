import { DELETION_TIMEOUT, durationMs } from '../api/schema.ts';
import { GatewayUnavailableError, type OperatorError, UpstreamInUseError } from '../model/errors.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { Verdict } from '../model/verdict.ts';
import type { DeletionPlan } from './deletion.ts';

/** `ResolvedRefs` while the deletion of an object is pending. */
export const NOT_RESOLVED_BEFORE_DELETION: Verdict = {
  status: 'Unknown',
  reason: 'Pending',
  message: 'References are not checked because the object is being deleted',
};

/** When the operator stops retrying a failed deletion if the namespace is also being deleted, wall clock. */
export function deletionDeadline({ spec }: GatewayUpstream, deletionTimestamp: string): number {
  const timeout = spec.ok ? spec.value.deletionTimeout : DELETION_TIMEOUT;
  return Date.parse(deletionTimestamp) + durationMs(timeout);
}

/** Why the upstream stays in the gateway after the deadline. */
export function overdueReason({ spec }: GatewayUpstream, failure: OperatorError): string {
  const timeout = spec.ok ? spec.value.deletionTimeout : DELETION_TIMEOUT;
  return `it could not be deleted within ${timeout}, and the operator deletes it once that is possible: ${failure.message}`;
}

/** `Programmed` while the upstream cannot be deleted because of `failure`. */
export function deletionWaitVerdict(
  failure: OperatorError,
  policy: Extract<DeletionPlan, { kind: 'ends' }>['policy'],
): Verdict {
  const isInUse = failure instanceof UpstreamInUseError;
  return {
    status: failure instanceof GatewayUnavailableError ? 'Unknown' : 'False',
    reason: failure.reason,
    message: isInUse
      ? `Deletion is pending (${failure.message}): remove that reference, or set spec.deletionPolicy to ${policy === 'Force' ? 'Orphan' : 'Orphan or Force'}`
      : `Deletion is pending: ${failure.message}`,
  };
}

/** Why the upstream stays in the gateway with policy Orphan. */
export function orphanReason({ spec }: GatewayUpstream): string {
  return spec.ok && spec.value.syncPolicy === 'UpsertOnly'
    ? 'syncPolicy is UpsertOnly'
    : 'deletionPolicy is Orphan';
}
