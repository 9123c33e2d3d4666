import { CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../../api/group.ts';
import type { Change, Terms } from '../../decide/change.ts';
import { isTakeOver } from '../../decide/repairs.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { UpstreamReconcilerDeps } from './deps.ts';

/**
 * Adds the finalizers of the object and of its connection. They come before the first write, so that no upstream outlives
 * its object unseen. What the gateway already contains follows its endpoints meanwhile. Returns why `change` has to wait:
 * `soon`, or the refusal of the API server.
 */
export function bind(
  deps: UpstreamReconcilerDeps,
  object: GatewayUpstream,
  change: Change,
  { manage, isUrgent }: Pick<Terms, 'manage'> & { readonly isUrgent: boolean },
): Verdict | 'soon' | undefined {
  const connection = deps.connections.get('', object.connection);
  const isConnectionBound = connection?.finalizers.includes(CONNECTION_FINALIZER) === true;
  const isBound = object.finalizers.includes(UPSTREAM_FINALIZER);
  if (!isBound) deps.finalizers.request(object, isUrgent);
  if (!isConnectionBound) deps.bindConnection(object.connection);
  if (isBound && isConnectionBound) return undefined;
  const isFirst =
    change.kind === 'create' || isTakeOver(change) || (change.kind === 'updateNodes' && manage === 'Nodes');
  if (!isFirst) return undefined;
  const refusal =
    deps.finalizers.failureVerdict(object) ??
    (connection === undefined ? undefined : deps.finalizers.failureVerdict(connection));
  return refusal ?? 'soon';
}
