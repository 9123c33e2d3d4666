import { objectKey } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import { certificateName } from './certificates.ts';
import { namespaceNamedBy } from './host-policy.ts';
import { markedAs } from './ownership.ts';
import { referredNamespaces } from './references.ts';

/** Indexes that the controller needs on the store of GatewayUpstreams. */
export const upstreamIndexes = {
  connection: (object: GatewayUpstream): readonly string[] => [object.connection],
  namespace: (object: GatewayUpstream): readonly string[] => [object.namespace],
  /** How marks in a gateway name the object. */
  mark: (object: GatewayUpstream): readonly string[] => [markedAs(object.namespace, object.name)],
  /** The set that made it. */
  set: ({ madeBy }: GatewayUpstream): readonly string[] => (madeBy === undefined ? [] : [madeBy.set]),
  /** The other namespaces that it refers to. */
  referred: referredNamespaces,
  /** `namespace/name` of the Secret that it refers to. */
  certificate: (object: GatewayUpstream): readonly string[] => {
    const name = certificateName(object);
    return name === undefined ? [] : [objectKey(object.namespace, name)];
  },
  /** Namespaces that an address of it would lead into, if there were one of that name. */
  named: ({ spec }: GatewayUpstream): readonly string[] =>
    spec.ok
      ? spec.value.backends.flatMap(({ addresses = [] }) =>
          addresses.flatMap(({ host }) => namespaceNamedBy(host) ?? []),
        )
      : [],
};
