import { ACCEPT_REMOVAL_ANNOTATION } from '../api/group.ts';
import { REMOVAL_GUARD_DEFAULTS } from '../api/policies.ts';
import { registryBackendOf } from '../api/registry-section.ts';
import { GatewayUnavailableError, type OperatorError } from '../model/errors.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { UpstreamOutcome } from '../model/outcome.ts';
import type { ObservedUpstream } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Change } from './change.ts';
import type { Desired } from './desired.ts';
import { fieldChanges } from './diff.ts';
import { createTimeSeconds } from './owner.ts';
import type { Decision } from './plan-change.ts';
import { invalidTimeNote } from './removal-guard.ts';
import { kubeTime } from './status.ts';

export const PROGRAMMED: Verdict = {
  status: 'True',
  reason: 'Programmed',
  message: 'The gateway confirmed this configuration',
};

/** `Programmed` of an object that is not accepted. */
export const NOT_WRITTEN: Verdict = {
  status: 'Unknown',
  reason: 'Pending',
  message: 'Nothing is written because the object is not accepted',
};

/** `ResolvedRefs` of an object that is not accepted. */
export const NOT_RESOLVED: Verdict = {
  status: 'Unknown',
  reason: 'Pending',
  message: 'References are not checked because the object is not accepted',
};

/** `Programmed` after a write; `answered` is the upstream in the gateway's response. */
export function writtenVerdict(canonical: string, answered: ObservedUpstream): Verdict {
  if (answered.canonical === canonical) return PROGRAMMED;
  const fields = fieldChanges(canonical, answered.canonical).map(({ field }) => field);
  return {
    status: 'False',
    reason: 'Rejected',
    message: `The gateway accepted the upstream but returned different values for ${fields.join(', ') || 'nodes'}: find out what changes them in the gateway`,
  };
}

/** The input of the verdicts about the gateway's content. */
interface Compared {
  readonly accepted: Verdict;
  readonly desired: Pick<Desired, 'resolvedRefs'>;
  readonly observed: ObservedUpstream | undefined;
  readonly canonical: string;
}

/** `Programmed` if there is nothing to write. */
export function unwrittenVerdict({ accepted, desired, observed, canonical }: Compared): Verdict {
  if (observed?.canonical === canonical) return PROGRAMMED;
  if (accepted.status !== 'True') return NOT_WRITTEN;
  return observed === undefined
    ? {
        status: 'False',
        reason: 'Pending',
        message: 'The upstream is not created yet because its references are not resolved',
      }
    : {
        status: 'Unknown',
        reason: 'Pending',
        message: `The gateway's current configuration is unchanged: ${desired.resolvedRefs.message}`,
      };
}

/** `Programmed` if syncPolicy Observe prevents writes. */
export function observeVerdict(change: Change, compared: Compared): Verdict {
  if (change.kind === 'none') return unwrittenVerdict(compared);
  const what = change.kind === 'create' ? 'does not exist' : 'differs';
  return {
    status: 'False',
    reason: 'Observed',
    message: `Nothing is written because spec.syncPolicy is Observe, and the upstream in the gateway ${what}: status.plan lists what Sync would write`,
  };
}

/** `Programmed` after a request that failed. */
export function failedVerdict(error: OperatorError): Verdict {
  return {
    status: error instanceof GatewayUnavailableError ? 'Unknown' : 'False',
    reason: error.reason,
    message: error.message,
  };
}

/** The condition `RemovalHeld` while the removal guard keeps nodes. */
export function removalHeldVerdict(
  { namespace, name, acceptRemoval, spec }: GatewayUpstream,
  { newest, vanishedHoldMs }: NonNullable<Decision['guard']>,
): Verdict {
  const { holdFor, whenExpired } = spec.ok ? spec.value.removalGuard : REMOVAL_GUARD_DEFAULTS;
  const usesRegistry = spec.ok && spec.value.backends.some((one) => registryBackendOf(one) !== undefined);
  const end = whenExpired === 'Hold' ? 'until you accept the removal' : `for up to ${holdFor}`;
  const command = `kubectl annotate --overwrite -n ${namespace} gwu/${name} ${ACCEPT_REMOVAL_ANNOTATION}=${kubeTime(newest)}`;
  return {
    status: 'True',
    reason: 'RemovalHeld',
    message: `Most endpoints became unavailable at once without a known cause. The gateway keeps nodes whose endpoints are not ready ${end}, and nodes whose endpoints vanished for up to ${vanishedHoldMs / 1000}s. Check the Pods${usesRegistry ? ' and the registries' : ''}. To remove these nodes now, run: ${command}${invalidTimeNote(acceptRemoval)}`,
  };
}

/** The outcome for an object that is not accepted before the gateway is read; the gateway stays unchanged. */
export function refusedOutcome(object: GatewayUpstream, accepted: Verdict): UpstreamOutcome {
  return {
    accepted,
    resolvedRefs: NOT_RESOLVED,
    programmed: NOT_WRITTEN,
    ready: accepted,
    ...(object.status?.upstreamId === undefined ? {} : { upstreamId: object.status.upstreamId }),
    ...createTimeOf(object, undefined),
  };
}

/** The outcome if a missing permission prevents a decision: the other conditions keep their last values. */
export function missingPermissionOutcome(object: GatewayUpstream, ready: Verdict): UpstreamOutcome {
  const unknown: Verdict = { status: 'Unknown', reason: 'PermissionMissing', message: ready.message };
  const kept = (type: string): Verdict => {
    const before = object.status?.conditions?.find((condition) => condition.type === type);
    return before === undefined
      ? unknown
      : { status: before.status, reason: before.reason as Verdict['reason'], message: before.message };
  };
  const { upstreamId } = object.status ?? {};
  return {
    accepted: kept('Accepted'),
    resolvedRefs: kept('ResolvedRefs'),
    programmed: kept('Programmed'),
    ready,
    ...(upstreamId === undefined ? {} : { upstreamId }),
    ...createTimeOf(object, undefined),
  };
}

/** The create time of an upstream, from the gateway or from the status. */
export function createTimeOf(
  object: GatewayUpstream,
  observed: ObservedUpstream | undefined,
): { readonly createTime?: number } {
  const createTime = observed?.createTime ?? createTimeSeconds(object);
  return createTime === undefined ? {} : { createTime };
}
