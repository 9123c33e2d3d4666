import { GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../api/crd.ts';
import { GROUP, OPERATOR, VERSION } from '../api/group.ts';
import type { SetMember } from '../decide/upstream-set.ts';
import type { Stored } from '../model/store-view.ts';
import { KubeApiError } from './kube-error.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

/** Writes the GatewayUpstreams of GatewayUpstreamSets. Rejects with `KubeApiError`. */
export interface MemberWriter {
  /**
   * Creates or updates `member` as a GatewayUpstream of `set`. `existing`: the current object, or undefined to create it.
   * Creation rejects with 409 if another client has created an object with this name in the meantime.
   */
  apply(set: Stored, member: SetMember, existing: Stored | undefined, signal: AbortSignal): Promise<void>;
  /** Deletes `member`. Also resolves if it does not exist, or if another object has its name. */
  remove(member: Stored, signal: AbortSignal): Promise<void>;
}

/** Separates the fields that a set owns from the fields that the operator writes itself. */
const FIELD_MANAGER = `${OPERATOR}-set`;

export function createMemberWriter(transport: KubeTransport): MemberWriter {
  const pathOf = ({ namespace, name }: Pick<Stored, 'namespace' | 'name'>) =>
    resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM.plural, namespace, name });

  return {
    async apply(set, member, existing, signal) {
      const { namespace, name, labels, annotations, spec } = member;
      await transport.send({
        method: 'PATCH',
        path: pathOf(member),
        query: { fieldManager: FIELD_MANAGER, ...(existing === undefined ? {} : { force: 'true' }) },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: `${GROUP}/${VERSION}`,
          kind: GATEWAY_UPSTREAM.kind,
          metadata: {
            name,
            namespace,
            ...(existing === undefined ? {} : { uid: existing.uid }),
            labels,
            annotations,
            // No blockOwnerDeletion: OpenShift would require permission to change the finalizers of sets.
            ownerReferences: [
              {
                apiVersion: `${GROUP}/${VERSION}`,
                kind: GATEWAY_UPSTREAM_SET.kind,
                name: set.name,
                uid: set.uid,
                controller: true,
              },
            ],
          },
          spec,
        },
        signal,
      });
    },

    async remove(member, signal) {
      try {
        await transport.send({
          method: 'DELETE',
          path: pathOf(member),
          body: { preconditions: { uid: member.uid } },
          signal,
        });
      } catch (error) {
        if (error instanceof KubeApiError && (error.status === 404 || error.status === 409)) return;
        throw error;
      }
    },
  };
}
