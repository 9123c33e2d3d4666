import type { Discovered } from '../model/discovered.ts';
import type { RegistryServiceRef } from '../model/reference.ts';
import type { NotPermitted } from './backends.ts';
import { unlisted } from './listing.ts';
import { isNamespaceAllowed, patternProblem } from './selectors.ts';
import type { Snapshot } from './snapshot.ts';

type Unknown = Extract<Discovered, { state: 'unknown' }>;

/** Why an object in `namespace` may not use `ref`; undefined if it may. */
export function registryDenied(
  { registries, namespaces }: Pick<Snapshot, 'registries' | 'namespaces'>,
  { registry: name }: RegistryServiceRef,
  namespace: string,
): NotPermitted | Unknown | undefined {
  if (registries === undefined) return unusable(name, 'this build of the operator supports no registries');
  const unread = unlisted('ServiceRegistries', registries);
  if (unread !== undefined) return unread;
  const registry = registries.get('', name);
  // The accidental deletion of a ServiceRegistry must not stop traffic, so the answer is unknown, not denied.
  if (registry === undefined) return unusable(name, 'it does not exist: create it, or correct registryRef');
  if (!registry.spec.ok) return unusable(name, `its spec is not valid: ${registry.spec.message}`);
  const { allowedNamespaces } = registry.spec.value;
  const problem = patternProblem(allowedNamespaces);
  if (problem !== undefined) return unusable(name, `spec.allowedNamespaces: ${problem}`);
  const facts = namespaces.get('', namespace) ?? { name: namespace, labels: undefined };
  const allowed = isNamespaceAllowed(allowedNamespaces, facts);
  if (allowed === 'unknown')
    return unusable(
      name,
      `the operator has not read namespace ${namespace} yet, and the registry selects namespaces by label`,
    );
  if (allowed) return undefined;
  return {
    state: 'notPermitted',
    reason: 'RefNotPermitted',
    message: `ServiceRegistry ${name} does not allow namespace ${namespace}: ask the platform team to add it to spec.allowedNamespaces`,
  };
}

function unusable(name: string, why: string): Unknown {
  return {
    state: 'unknown',
    beginning: false,
    message: `ServiceRegistry ${name} cannot be used (${why}): the gateway's current nodes are unchanged`,
  };
}
