import { KubeApiError } from '../../kube/kube-error.ts';
import { type ObjectKey, splitKey } from '../../model/keys.ts';
import type { Result } from '../../runtime/work-queue.ts';
import { applyUpstream } from './apply.ts';
import { deleteUpstream } from './delete.ts';
import type { UpstreamReconcilerDeps } from './deps.ts';
import { reportMissingPermission } from './permissions.ts';

/**
 * Reconciles one GatewayUpstream: reads the object and the gateway's content, decides, writes and reports. Expected failures are
 * thrown as `OperatorError` and become an outcome.
 */
export function createUpstreamReconciler(
  deps: UpstreamReconcilerDeps,
): (key: ObjectKey, signal: AbortSignal) => Promise<Result> {
  return async (key, signal) => {
    const { namespace, name } = splitKey(key);
    const object = deps.upstreams.get(namespace, name);
    if (object === undefined) return { kind: 'done' };
    const state = deps.states.track(object);
    try {
      return object.deletionTimestamp === undefined
        ? await applyUpstream(deps, state, object, signal)
        : await deleteUpstream(deps, state, object, signal);
    } catch (error) {
      if (error instanceof KubeApiError && error.status === 403) reportMissingPermission(deps, object);
      throw error;
    }
  };
}
