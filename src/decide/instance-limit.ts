import type { Discovered, UnknownAnswer } from '../model/discovered.ts';
import type { RegistryServiceRef } from '../model/reference.ts';
import type { BackendTarget } from './backends.ts';

/**
 * Instances of registries in all backends of one object, before any filter. Gateways refuse upstreams with about as many nodes, and
 * one tenant's instances must not use up the time that all objects share.
 */
const MAX_INSTANCES = 20_000;

/**
 * Wraps `read`: the backends with the most instances are unknown where all of them have too many, so that the other ones can
 * change.
 */
export function withinInstanceLimit(
  read: (ref: RegistryServiceRef) => Discovered,
  targets: readonly BackendTarget[],
): (ref: RegistryServiceRef) => Discovered {
  const refs = targets.flatMap((target) => (target.kind === 'registry' ? [target.ref] : []));
  // One service has fewer than that.
  if (refs.length < 2) return read;
  const found = new Map(refs.map((ref) => [ref, read(ref)]));
  let total = 0;
  for (const [ref, answer] of [...found].toSorted(([, a], [, b]) => countOf(a) - countOf(b))) {
    total += countOf(answer);
    if (total > MAX_INSTANCES) found.set(ref, tooMany(ref));
  }
  return (ref) => found.get(ref) ?? read(ref);
}

function countOf(answer: Discovered): number {
  return answer.state === 'known' ? answer.endpoints.length : 0;
}

function tooMany({ registry, service }: RegistryServiceRef): UnknownAnswer {
  return {
    state: 'unknown',
    beginning: false,
    reason: 'TooManyInstances',
    message: `The backends list more than ${MAX_INSTANCES} instances in registries in total. The current nodes of service ${service} of ServiceRegistry ${registry} are unchanged: register fewer instances, or divide the backends among several objects`,
  };
}
