import { stringify } from 'yaml';
import { customResourceDefinition } from '../../api/crd.ts';
import type { Catalog } from '../../catalog.ts';
import { rbacObjects } from '../../kube/rbac.ts';

/** An object as it is applied. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export interface ManifestOptions {
  readonly namespace: string;
  /** The only namespaces to have rights in. Empty: the whole cluster. */
  readonly namespaces: readonly string[];
  /** The namespaces to have rights to Secrets in. Empty: the operator's own only. */
  readonly secretNamespaces: readonly string[];
  readonly crdsOnly: boolean;
  /** The rights that these keys of the configuration need, each false by default. */
  readonly watchNodes?: boolean;
  readonly readEndpoints?: boolean;
}

/** Everything that an installation consists of, in the order in which it is applied. */
export function manifestsOf(
  { customResources, followedKinds }: Pick<Catalog, 'customResources' | 'followedKinds'>,
  { namespace, crdsOnly, ...rights }: ManifestOptions,
): readonly Manifest[] {
  const crds = customResources.map(customResourceDefinition);
  const objects = crdsOnly
    ? crds
    : [
        ...crds,
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
        ...rbacObjects(followedKinds, { namespace, ...rights }),
      ];
  return objects as readonly Manifest[];
}

/** For `kubectl apply -f -`. */
export function manifestsYaml(
  catalog: Pick<Catalog, 'customResources' | 'followedKinds'>,
  options: ManifestOptions,
): string {
  return manifestsOf(catalog, options)
    .map((manifest) => stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n');
}
