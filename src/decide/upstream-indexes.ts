import { registryBackendOf } from '../api/registry-section.ts';
import { objectKey } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import { certificateName } from './certificates.ts';
import { namespaceNamedBy } from './host-policy.ts';
import { markedAs } from './ownership.ts';
import { referredNamespaces } from './references.ts';

/** The ServiceRegistries that an object refers to; none if its spec is not valid. */
export function registriesOf(object: GatewayUpstream | undefined): readonly string[] {
  if (object?.spec.ok !== true) return [];
  const names = object.spec.value.backends.flatMap((backend) => registryBackendOf(backend)?.registry ?? []);
  return [...new Set(names)];
}

/** The indexes that the controller needs on the GatewayUpstream store. */
export const upstreamIndexes = {
  connection: (object: GatewayUpstream): readonly string[] => [object.connection],
  namespace: (object: GatewayUpstream): readonly string[] => [object.namespace],
  /** The object's key as in ownership labels. */
  mark: (object: GatewayUpstream): readonly string[] => [markedAs(object.namespace, object.name)],
  /** The GatewayUpstreamSet that created it. */
  set: ({ madeBy }: GatewayUpstream): readonly string[] => (madeBy === undefined ? [] : [madeBy.set]),
  registry: registriesOf,
  /** The other namespaces that it references. */
  referred: referredNamespaces,
  /** `namespace/name` of the referenced Secret. */
  certificate: (object: GatewayUpstream): readonly string[] => {
    const name = certificateName(object);
    return name === undefined ? [] : [objectKey(object.namespace, name)];
  },
  /** The namespaces that its static names would resolve into if they existed (`namespaceNamedBy`). */
  named: ({ spec }: GatewayUpstream): readonly string[] =>
    spec.ok
      ? spec.value.backends.flatMap(({ addresses = [] }) =>
          addresses.flatMap(({ host }) => namespaceNamedBy(host) ?? []),
        )
      : [],
};
