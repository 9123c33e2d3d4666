import { CONNECTION_FINALIZER, UPSTREAM_FINALIZER } from '../../api/group.ts';
import type { Change, Terms } from '../../decide/change.ts';
import { isTakeOver } from '../../decide/repairs.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import type { Verdict } from '../../model/verdict.ts';
import type { UpstreamReconcilerDeps } from './deps.ts';

/**
 * Adds the finalizers of the object and of its connection before the first write, so that the deletion of the object waits for
 * the operator. Upstreams that already exist are updated meanwhile. Returns why `change` must wait: `soon` (the finalizers are
 * being added), or a verdict if the API server denies them. Returns undefined if the write may proceed.
 */
export function ensureFinalizers(
  deps: UpstreamReconcilerDeps,
  object: GatewayUpstream,
  change: Change,
  { manage, isUrgent }: Pick<Terms, 'manage'> & { readonly isUrgent: boolean },
): Verdict | 'soon' | undefined {
  const connection = deps.connections.get('', object.connection);
  const isConnectionBound = connection?.finalizers.includes(CONNECTION_FINALIZER) === true;
  const isBound = object.finalizers.includes(UPSTREAM_FINALIZER);
  if (!isBound) deps.finalizers.request(object, isUrgent);
  if (!isConnectionBound) deps.enqueueConnection(object.connection);
  if (isBound && isConnectionBound) return undefined;
  const isFirst =
    change.kind === 'create' || isTakeOver(change) || (change.kind === 'updateNodes' && manage === 'Nodes');
  if (!isFirst) return undefined;
  const failure =
    deps.finalizers.failureVerdict(object) ??
    (connection === undefined ? undefined : deps.finalizers.failureVerdict(connection));
  return failure ?? 'soon';
}
