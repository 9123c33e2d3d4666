import { GATEWAY_UPSTREAM } from '../api/crd.ts';
import { GROUP } from '../api/group.ts';
import type { ReferenceGrant } from '../model/objects.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { NotPermitted } from './backends.ts';

/** What is known of grants in the namespace that is referred to. */
export type KnownGrants =
  | { readonly kind: 'listed'; readonly grants: readonly ReferenceGrant[] }
  /** The Gateway API is not there. */
  | { readonly kind: 'notInstalled' }
  /** The operator looks at other namespaces only. */
  | { readonly kind: 'notFollowed' };

/**
 * Why an object of `namespace` may not look at `ref`, which is in another one; undefined if it may. Says the same whether
 * the Service exists or not: that is its owner's to tell.
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
    case 'notFollowed':
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

/** The narrowest one that is enough. */
function grantFor(ref: ServicePortRef, namespace: string): ReferenceGrant {
  return {
    from: [{ group: GROUP, kind: GATEWAY_UPSTREAM.kind, namespace }],
    to: [{ group: '', kind: 'Service', name: ref.name }],
  };
}

function notPermitted(message: string): NotPermitted {
  return { state: 'notPermitted', reason: 'RefNotPermitted', message };
}
