import { builtInCatalog } from '../../src/catalog.ts';
import { admit as admitWith } from '../../src/cli/plan/admit.ts';
import {
  planResources,
  type RawObjects,
  type Stores,
  storesOf as storesWith,
} from '../../src/cli/plan/kinds.ts';
import type { Document } from '../../src/cli/plan/read-files.ts';
import type { GatewayFormat } from '../../src/gateways/driver.ts';
import type { Permission } from '../../src/kube/permissions.ts';
import {
  permissionsOf as permissionsWith,
  type RbacOptions,
  rbacObjects as rbacObjectsWith,
} from '../../src/kube/rbac.ts';

/** The parsers of the built-in catalog, for tests that do not need another one. */
export const {
  gatewayConnection: transformGatewayConnection,
  gatewayUpstream: transformGatewayUpstream,
  gatewayUpstreamSet: transformGatewayUpstreamSet,
} = builtInCatalog.transforms;

export const {
  gatewayConnection: gatewayConnectionSpec,
  gatewayUpstream: gatewayUpstreamSpec,
  gatewayUpstreamSet: gatewayUpstreamSetSpec,
} = builtInCatalog.schemas;

const { serviceRegistry } = builtInCatalog.schemas;
if (serviceRegistry === undefined) throw new Error('no registry type is built in');
export const serviceRegistrySpec = serviceRegistry;

export const vendorOf = builtInCatalog.vendor;

export function gatewayFormat(type: string): GatewayFormat {
  return vendorOf(type).format;
}

export function storesOf(objects: RawObjects, secretNamespaces: readonly string[] = []): Stores {
  return storesWith(planResources(builtInCatalog), objects, secretNamespaces);
}

export function admit(documents: readonly Document[], now: number): ReturnType<typeof admitWith> {
  return admitWith(planResources(builtInCatalog), documents, now);
}

const followedKinds = builtInCatalog.followedKinds;

export function permissionsOf(options: RbacOptions): readonly Permission[] {
  return permissionsWith(followedKinds, options);
}

export function rbacObjects(options: RbacOptions): readonly object[] {
  return rbacObjectsWith(followedKinds, options);
}
