import { type CustomResource, customResources, type SpecSchemas, specSchemas } from './api/crd.ts';
import { vendors as builtInVendors } from './gateways/index.ts';
import type { Vendor } from './gateways/vendor.ts';
import { type CommonResources, commonResources, registryResource } from './kube/followed-resources.ts';
import { type CustomTransforms, customTransforms } from './kube/objects.ts';
import type { FollowedKind, FollowedResource } from './model/followed-resource.ts';
import type { ServiceRegistry } from './model/objects.ts';
import { registryTypes as builtInRegistryTypes } from './sources/index.ts';
import { kubernetesResources } from './sources/kubernetes/followed-resources.ts';
import type { EndpointsFacts, ServiceFacts, SliceFacts } from './sources/kubernetes/transform.ts';
import type { RegistryType } from './sources/registry.ts';

/** The built-in gateway and registry types, and everything derived from them. */
export interface Catalog {
  readonly schemas: SpecSchemas;
  /** All kinds with their schemas, in installation order. */
  readonly customResources: readonly CustomResource[];
  readonly transforms: CustomTransforms;
  /** All watched kinds, in the order of the permissions. */
  readonly followedResources: FollowedResources;
  /** Looks up `spec.type` of a GatewayConnection. Throws for a type that the schema does not allow. */
  vendor(type: string): Vendor;
  readonly registryTypes: readonly RegistryType[];
  /** Undefined if no registry type is built in. */
  readonly registries: FollowedResource<ServiceRegistry> | undefined;
  /** All of these kinds. The operator needs permissions for them. */
  readonly followedKinds: readonly FollowedKind[];
}

export interface FollowedResources extends CommonResources {
  readonly services: FollowedResource<ServiceFacts>;
  readonly slices: FollowedResource<SliceFacts>;
  readonly endpoints: FollowedResource<EndpointsFacts>;
}

export interface CatalogOptions {
  readonly vendors: readonly Vendor[];
  /** Without a registry type, the kind ServiceRegistry does not exist. */
  readonly registryTypes?: readonly RegistryType[];
}

export function createCatalog({ vendors, registryTypes = [] }: CatalogOptions): Catalog {
  const byType = new Map(vendors.map((vendor) => [vendor.type, vendor]));
  const schemas = specSchemas(vendors, registryTypes);
  const transforms = customTransforms(schemas);
  const resources = followedResources(transforms);
  const registries = registryResource(transforms);
  return {
    registryTypes,
    registries,
    followedKinds: [...Object.values(resources), ...(registries === undefined ? [] : [registries])],
    schemas,
    customResources: customResources(schemas),
    transforms,
    followedResources: resources,
    vendor(type) {
      const vendor = byType.get(type);
      if (vendor === undefined) throw new Error(`gateway type ${type} is not built in`);
      return vendor;
    },
  };
}

function followedResources(transforms: CustomTransforms): FollowedResources {
  const { connections, sets, namespaces, upstreams, ...others } = commonResources(transforms);
  return { connections, sets, namespaces, upstreams, ...kubernetesResources, ...others };
}

/** The catalog of the released program. */
export const builtInCatalog: Catalog = createCatalog({
  vendors: builtInVendors,
  registryTypes: builtInRegistryTypes,
});
