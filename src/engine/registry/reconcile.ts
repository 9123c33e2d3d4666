import { REGISTRY_READY, registryPatternVerdict, registryVerdicts } from '../../decide/registry-verdicts.ts';
import { missingVerdict, summarize } from '../../decide/status.ts';
import { objectKey } from '../../model/keys.ts';
import type { ServiceRegistry } from '../../model/objects.ts';
import type { RegistryOutcome } from '../../model/outcome.ts';
import type { RegistryFacts } from '../../model/registry-facts.ts';
import type { Result } from '../../runtime/work-queue.ts';
import type { RegistryReconcilerDeps } from './deps.ts';

/** How often the status is brought up to date while nothing changes but times. */
const REFRESH_MS = 60_000;

/** Reports the state of one registry. It writes nothing else, so a ServiceRegistry needs no finalizer. */
export function createRegistryReconciler(deps: RegistryReconcilerDeps): (name: string) => Result {
  return (name) => {
    const registry = deps.registries?.get('', name);
    if (registry === undefined) {
      deps.reporter.forget('ServiceRegistry', objectKey('', name));
      return { kind: 'done' };
    }
    const facts = deps.registryReader?.facts(name);
    // The first answer comes soon. A status before it would only flap.
    const isStarting = facts?.standing.kind === 'starting';
    if (isStarting && registry.status?.observedGeneration !== undefined) return { kind: 'done' };
    deps.reporter.registry(registry, outcomeOf(deps, registry, facts));
    return { kind: 'after', delayMs: REFRESH_MS };
  };
}

function outcomeOf(
  { permissions, upstreams }: RegistryReconcilerDeps,
  registry: ServiceRegistry,
  facts: RegistryFacts | undefined,
): RegistryOutcome {
  const { reachable, authorized, problem } = registryVerdicts(registry, facts?.standing);
  const services = Object.values(facts?.services ?? {});
  return {
    reachable,
    authorized,
    ready:
      missingVerdict(permissions.lacking('ServiceRegistry', '')) ??
      registryPatternVerdict(registry) ??
      problem ??
      summarize([reachable, authorized], REGISTRY_READY),
    version: facts?.isVersionRead === true ? facts.version : registry.status?.version,
    api: facts?.api ?? registry.status?.api,
    users: upstreams.byIndex('registry', registry.name).length,
    followedServices: services.reduce((sum, count) => sum + count, 0),
    lastCompleteAnswerAt: facts?.lastCompleteAnswerAt,
  };
}
