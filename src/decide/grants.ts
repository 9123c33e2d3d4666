import { GATEWAY_UPSTREAM } from '../api/crd.ts';
import { GROUP } from '../api/group.ts';
import type { ReferenceGrant } from '../model/objects.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { NotPermitted } from './backends.ts';

/** The ReferenceGrants in the referenced namespace, as far as the operator can read them. */
export type KnownGrants =
  | { readonly kind: 'listed'; readonly grants: readonly ReferenceGrant[] }
  /** The API server does not serve ReferenceGrant. */
  | { readonly kind: 'notInstalled' }
  /** The operator does not watch the namespace. */
  | { readonly kind: 'notWatched' };

/**
 * Why an object in `namespace` may not refer to `ref` in another namespace; undefined if it may. The message does not
 * reveal whether the Service exists.
 */
export function referenceProblem(
  ref: ServicePortRef,
  namespace: string,
  known: KnownGrants,
): NotPermitted | undefined {
  const service = `Service ${ref.namespace}/${ref.name} is in another namespace`;
  const remedy = `create one in namespace ${ref.namespace} with the spec ${JSON.stringify(grantFor(ref, namespace))}`;
  switch (known.kind) {
    case 'listed':
      if (known.grants.some((grant) => permits(grant, ref, namespace))) return undefined;
      return notPermitted(`${service}, and no ReferenceGrant there permits the reference: ${remedy}`);
    case 'notInstalled':
      return notPermitted(
        `${service}, and the API server does not serve ReferenceGrant, which must permit the reference: install the Gateway API CRDs, then ${remedy}`,
      );
    case 'notWatched':
      return notPermitted(
        `${service}, which the operator does not watch: add ${ref.namespace} to namespaces in the operator's configuration`,
      );
    default:
      return known satisfies never;
  }
}

function permits({ from, to }: ReferenceGrant, ref: ServicePortRef, namespace: string): boolean {
  return (
    from.some(
      (one) => one.group === GROUP && one.kind === GATEWAY_UPSTREAM.kind && one.namespace === namespace,
    ) &&
    to.some(
      ({ group, kind, name }) =>
        group === '' && kind === 'Service' && (name === undefined || name === ref.name),
    )
  );
}

/** The narrowest grant that permits the reference. */
function grantFor(ref: ServicePortRef, namespace: string): ReferenceGrant {
  return {
    from: [{ group: GROUP, kind: GATEWAY_UPSTREAM.kind, namespace }],
    to: [{ group: '', kind: 'Service', name: ref.name }],
  };
}

function notPermitted(message: string): NotPermitted {
  return { state: 'notPermitted', reason: 'RefNotPermitted', message };
}
