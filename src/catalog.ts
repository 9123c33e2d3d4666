import { type CustomResource, customResources, type SpecSchemas, specSchemas } from './api/crd.ts';
import { vendors as builtInVendors } from './gateways/index.ts';
import type { Vendor } from './gateways/vendor.ts';
import { type CommonResources, commonResources } from './kube/followed-resources.ts';
import { type CustomTransforms, customTransforms } from './kube/objects.ts';
import type { FollowedResource } from './model/followed-resource.ts';
import { kubernetesResources } from './sources/kubernetes/followed-resources.ts';
import type { EndpointsFacts, ServiceFacts, SliceFacts } from './sources/kubernetes/transform.ts';

/** What a program is built from, and what follows from that. */
export interface Catalog {
  readonly schemas: SpecSchemas;
  /** Every kind with its schema, in the order in which they are installed. */
  readonly customResources: readonly CustomResource[];
  readonly transforms: CustomTransforms;
  /** Every kind that the operator follows, in the order of its permissions. */
  readonly followedResources: FollowedResources;
  /** By `spec.type` of a GatewayConnection. Throws for a type that the schema does not allow. */
  vendor(type: string): Vendor;
}

export interface FollowedResources extends CommonResources {
  readonly services: FollowedResource<ServiceFacts>;
  readonly slices: FollowedResource<SliceFacts>;
  readonly endpoints: FollowedResource<EndpointsFacts>;
}

export interface CatalogOptions {
  readonly vendors: readonly Vendor[];
}

export function createCatalog({ vendors }: CatalogOptions): Catalog {
  const byType = new Map(vendors.map((vendor) => [vendor.type, vendor]));
  const schemas = specSchemas(vendors);
  const transforms = customTransforms(schemas);
  return {
    schemas,
    customResources: customResources(schemas),
    transforms,
    followedResources: followedResources(transforms),
    vendor(type) {
      const vendor = byType.get(type);
      if (vendor === undefined) throw new Error(`no gateway of type ${type} is built in`);
      return vendor;
    },
  };
}

function followedResources(transforms: CustomTransforms): FollowedResources {
  const { connections, sets, namespaces, upstreams, ...others } = commonResources(transforms);
  return { connections, sets, namespaces, upstreams, ...kubernetesResources, ...others };
}

/** What the released program is built from. */
export const builtInCatalog: Catalog = createCatalog({ vendors: builtInVendors });
