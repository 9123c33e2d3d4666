import { GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../api/crd.ts';
import { GROUP, OPERATOR, VERSION } from '../api/group.ts';
import type { SetMember } from '../decide/upstream-set.ts';
import type { Stored } from '../model/store-view.ts';
import { KubeApiError } from './kube-error.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

/** Writes the GatewayUpstreams of sets. Rejects with `KubeApiError`. */
export interface MemberWriter {
  /**
   * Makes the API server hold `member` as one of `set`. `held`: what is there; undefined makes it, and is refused with 409
   * where somebody else made one of that name meanwhile.
   */
  apply(set: Stored, member: SetMember, held: Stored | undefined, signal: AbortSignal): Promise<void>;
  /** One that is gone, or another one of its name, is a success. */
  remove(member: Stored, signal: AbortSignal): Promise<void>;
}

/** Fields that a set owns are told from those that the operator writes for itself. */
const FIELD_MANAGER = `${OPERATOR}-set`;

export function createMemberWriter(transport: KubeTransport): MemberWriter {
  const pathOf = ({ namespace, name }: Pick<Stored, 'namespace' | 'name'>) =>
    resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM.plural, namespace, name });

  return {
    async apply(set, member, held, signal) {
      const { namespace, name, labels, annotations, spec } = member;
      await transport.send({
        method: 'PATCH',
        path: pathOf(member),
        query: { fieldManager: FIELD_MANAGER, ...(held === undefined ? {} : { force: 'true' }) },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: `${GROUP}/${VERSION}`,
          kind: GATEWAY_UPSTREAM.kind,
          metadata: {
            name,
            namespace,
            ...(held === undefined ? {} : { uid: held.uid }),
            labels,
            annotations,
            // Without blockOwnerDeletion, for which OpenShift asks the right to change finalizers of sets.
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
