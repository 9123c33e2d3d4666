import { certificateName } from '../../decide/certificates.ts';
import { missingPermissionOutcome } from '../../decide/programmed.ts';
import { referredNamespaces } from '../../decide/references.ts';
import { missingVerdict } from '../../decide/status.ts';
import { registriesOf } from '../../decide/upstream-indexes.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { UpstreamReconcilerDeps } from './deps.ts';

/** The `Ready` verdict if the operator lacks a permission for the object; undefined otherwise. */
export function missingPermission(
  { permissions }: UpstreamReconcilerDeps,
  object: GatewayUpstream,
): Verdict | undefined {
  return missingVerdict(
    permissions.lacking('GatewayUpstream', object.namespace, {
      referred: referredNamespaces(object),
      certificate: certificateName(object) !== undefined,
      registry: registriesOf(object).length > 0,
    }),
  );
}

/** Reports a missing permission that prevents a decision. The rest of the status is unchanged. */
export function reportMissingPermission(deps: UpstreamReconcilerDeps, object: GatewayUpstream): void {
  const ready = missingPermission(deps, object);
  if (ready !== undefined) deps.reporter.upstream(object, missingPermissionOutcome(object, ready));
}
