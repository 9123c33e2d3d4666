import type { Discovered } from '../model/discovered.ts';
import type { GatewayUpstream, ReferenceGrantStored } from '../model/objects.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { StoreView } from '../model/store-view.ts';
import { backendTargets, type NotPermitted } from './backends.ts';
import { type KnownGrants, referenceProblem } from './grants.ts';
import { unknownKind, unreadableObject } from './listing.ts';

/** The input for cross-namespace reference checks. */
export interface ReferenceRules {
  /** With `grantIndexes`. */
  readonly grants: StoreView<ReferenceGrantStored>;
  /** The watched namespaces; empty for all. */
  readonly onlyNamespaces: readonly string[];
}

/** The indexes that the ReferenceGrant store needs. */
export const grantIndexes = {
  namespace: (grant: ReferenceGrantStored): readonly string[] => [grant.namespace],
};

/** The other namespaces that `object` references. */
export function referredNamespaces({ namespace, spec }: GatewayUpstream): readonly string[] {
  if (!spec.ok) return [];
  const referred = backendTargets(spec.value, namespace).flatMap((target) =>
    target.kind === 'service' && target.ref.namespace !== namespace ? [target.ref.namespace] : [],
  );
  return [...new Set(referred)];
}

/** Why an object in `namespace` may not use `ref`; undefined if it may. */
export function referenceDenied(
  rules: ReferenceRules,
  ref: ServicePortRef,
  namespace: string,
): NotPermitted | Extract<Discovered, { state: 'unknown' }> | undefined {
  if (ref.namespace === namespace) return undefined;
  const known = grantsIn(rules, ref.namespace);
  if (known.kind === 'unknown') return unknownKind('ReferenceGrants', known.problem);
  const denied = referenceProblem(ref, namespace, known);
  if (denied === undefined) return undefined;
  // An unreadable grant may be the grant that permits the reference.
  return unreadableObject('ReferenceGrant', rules.grants.byIndex('namespace', ref.namespace)) ?? denied;
}

function grantsIn(
  { grants, onlyNamespaces }: ReferenceRules,
  namespace: string,
): KnownGrants | { readonly kind: 'unknown'; readonly problem: string | undefined } {
  if (onlyNamespaces.length > 0 && !onlyNamespaces.includes(namespace)) return { kind: 'notWatched' };
  const { state } = grants;
  const found = grants.byIndex('namespace', namespace);
  switch (state.state) {
    case 'syncing':
      return { kind: 'unknown', problem: state.problem };
    case 'synced':
      return { kind: 'listed', grants: found };
    case 'absent':
      // With one watch per namespace, this watch may detect the new kind before the other watches do.
      return found.length > 0 ? { kind: 'listed', grants: found } : { kind: 'notInstalled' };
    default:
      return state satisfies never;
  }
}
