import { type CustomResource, customResources, type SpecSchemas, specSchemas } from './api/crd.ts';
import { vendors as builtInVendors } from './gateways/index.ts';
import type { Vendor } from './gateways/vendor.ts';
import { type CustomTransforms, customTransforms } from './kube/objects.ts';
import { registryTypes as builtInRegistryTypes } from './sources/index.ts';
import type { RegistryType } from './sources/registry.ts';

/** What a program is built from, and what follows from that. */
export interface Catalog {
  readonly schemas: SpecSchemas;
  /** Every kind with its schema, in the order in which they are installed. */
  readonly customResources: readonly CustomResource[];
  readonly transforms: CustomTransforms;
  /** By `spec.type` of a GatewayConnection. Throws for a type that the schema does not allow. */
  vendor(type: string): Vendor;
  readonly registryTypes: readonly RegistryType[];
}

export interface CatalogOptions {
  readonly vendors: readonly Vendor[];
  /** Types of service registries. Without any, there is no kind ServiceRegistry. */
  readonly registryTypes?: readonly RegistryType[];
}

export function createCatalog({ vendors, registryTypes = [] }: CatalogOptions): Catalog {
  const byType = new Map(vendors.map((vendor) => [vendor.type, vendor]));
  const schemas = specSchemas(vendors, registryTypes);
  return {
    registryTypes,
    schemas,
    customResources: customResources(schemas),
    transforms: customTransforms(schemas),
    vendor(type) {
      const vendor = byType.get(type);
      if (vendor === undefined) throw new Error(`no gateway of type ${type} is built in`);
      return vendor;
    },
  };
}

/** What the released program is built from. */
export const builtInCatalog: Catalog = createCatalog({
  vendors: builtInVendors,
  registryTypes: builtInRegistryTypes,
});
