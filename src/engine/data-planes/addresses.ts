import { endpointUrls, noDataPlanes, unwatchedProblem } from '../../decide/data-planes.ts';
import type { FoundDataPlanes } from '../../gateways/connect.ts';
import type { ServicePortRef } from '../../model/reference.ts';
import type { DiscoverySource } from '../../sources/source.ts';

/** Addresses of data planes. Without `urls` they are unknown, and the previous addresses stay in use. */
export interface FoundAddresses {
  readonly urls?: readonly string[];
  readonly problem?: string;
}

/** Finds the data planes behind the Service `ref`. `field` is its field path, for messages. For `onlyNamespaces`, see `ReferenceRules`. */
export function dataPlaneAddresses(
  source: Pick<DiscoverySource<ServicePortRef>, 'read'>,
  { ref, field }: Extract<FoundDataPlanes, { kind: 'service' }>,
  onlyNamespaces: readonly string[],
): FoundAddresses {
  const unfollowed = unwatchedProblem(onlyNamespaces, ref.namespace, field);
  if (unfollowed !== undefined) return { urls: [], problem: unfollowed };
  const found = source.read(ref);
  switch (found.state) {
    case 'known': {
      const urls = endpointUrls(found);
      return urls.length > 0 ? { urls } : { urls, problem: noDataPlanes(ref, field) };
    }
    case 'external':
      return { urls: [], problem: noDataPlanes(ref, field) };
    case 'absent':
      return { urls: [], problem: `${field}: ${found.message}` };
    case 'unknown':
      return found.beginning ? {} : { problem: found.message };
    default:
      return found satisfies never;
  }
}
