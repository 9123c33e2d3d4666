import { stringify } from 'yaml';
import { customResourceDefinition } from '../../api/crd.ts';
import type { Catalog } from '../../catalog.ts';
import { rbacObjects } from '../../kube/rbac.ts';

/** An object to apply. */
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
  /** Namespaces to grant permissions in. Empty: the whole cluster. */
  readonly namespaces: readonly string[];
  /** Namespaces to grant access to Secrets in, besides the operator's own. */
  readonly secretNamespaces: readonly string[];
  readonly crdsOnly: boolean;
  /** Whether to grant the permissions that these configuration keys need. Default: false. */
  readonly watchNodes?: boolean;
  readonly readEndpoints?: boolean;
}

/** All objects of an installation in the order in which they are applied. */
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

/** The manifests as YAML for `kubectl apply -f -`. */
export function manifestsYaml(
  catalog: Pick<Catalog, 'customResources' | 'followedKinds'>,
  options: ManifestOptions,
): string {
  return manifestsOf(catalog, options)
    .map((manifest) => stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n');
}
