import { GROUP_PATH } from '../test/support/workload.ts';
import { EXPOSED_LABEL } from './services.ts';
import type { Site } from './site.ts';

/** The set of a site. It selects the labeled Services in the site's namespaces. */
export async function makeSet(site: Site): Promise<void> {
  const { set } = site.model;
  set.exists = true;
  site.model.followSet();
  await site.api.create(`${GROUP_PATH}/gatewayupstreamsets`, {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'GatewayUpstreamSet',
    metadata: { name: site.name },
    spec: {
      namespaceSelector: { match: [`^${site.name}-(one|two|n[0-9]+)$`] },
      serviceSelector: { matchLabels: { [EXPOSED_LABEL]: 'true' } },
      template: {
        spec: {
          connectionRef: { name: site.name },
          retries: set.retries,
          removalGuard: { holdFor: '3s' },
        },
      },
      // Deletes members without the pruning guard.
      maxPrunePercent: 100,
    },
  });
}

export async function editSet(site: Site, retries: number): Promise<void> {
  site.model.set.retries = retries;
  site.model.followSet();
  await site.api.patch(setPath(site), { spec: { template: { spec: { retries } } } });
}

/** Deletes the set. Its members follow later. */
export async function removeSet(site: Site): Promise<void> {
  site.model.set.exists = false;
  site.model.followSet();
  await site.api.remove(setPath(site));
}

export function setPath({ name }: Pick<Site, 'name'>): string {
  return `${GROUP_PATH}/gatewayupstreamsets/${name}`;
}

/** All objects with the set's label. */
export function membersPath({ name }: Pick<Site, 'name'>): string {
  return `${GROUP_PATH}/gatewayupstreams?labelSelector=gatewayupstream.dev%2Fset%3D${name}`;
}
