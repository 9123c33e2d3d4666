import type { ResolvedBackend } from '../../decide/backends.ts';
import type { Evaluated } from '../../decide/build-desired.ts';
import type { Result } from '../../runtime/work-queue.ts';
import type { ObjectState } from '../object-state.ts';
import type { UpstreamReconcilerDeps } from './deps.ts';

/** A registry that has not answered for this long after the start no longer delays the other backends of an upstream. */
const REGISTRY_BEGINNING_MS = 5000;

/** Undefined if `evaluation` need not wait for a source that has just started. */
export function waitForSources(
  { clock }: UpstreamReconcilerDeps,
  state: ObjectState,
  { desired, backends }: Evaluated,
): Result | undefined {
  if (desired.action !== 'notYet') {
    state.beganAt = undefined;
    return undefined;
  }
  const now = clock.monotonic();
  state.beganAt ??= now;
  // Its complete list starts the next reconcile. Without it, all Services are unknown, not only those of this upstream.
  if (backends.some(isServiceBeginning)) return { kind: 'done' };
  if (!backends.some(({ target }) => target.kind === 'registry')) return { kind: 'done' };
  const delayMs = state.beganAt + REGISTRY_BEGINNING_MS - now;
  return delayMs > 0 ? { kind: 'after', delayMs } : undefined;
}

function isServiceBeginning(backend: ResolvedBackend): boolean {
  return (
    backend.target.kind === 'service' &&
    'found' in backend &&
    backend.found.state === 'unknown' &&
    backend.found.beginning
  );
}
