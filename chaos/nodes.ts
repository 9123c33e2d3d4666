import type { ClusterNode } from './places.ts';
import type { Site } from './site.ts';

/** The label that selects the nodes of one site, because all sites of a control plane share the cluster's nodes. */
export const SITE_LABEL = 'chaos.example.com/site';
const EXCLUDED_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** Creates a ready node. Resolves to its name. */
export async function makeNode(site: Site): Promise<string> {
  const address = site.model.newAddress();
  const name = `${site.name}-${address.replaceAll('.', '-')}`;
  site.model.writeNode(name, { address, ready: true });
  await site.api.create('/api/v1/nodes', { metadata: { name, labels: { [SITE_LABEL]: site.name } } });
  await writeNodeStatus(site, name);
  return name;
}

export async function changeNode(
  site: Site,
  name: string,
  change: Partial<Pick<ClusterNode, 'ready' | 'excluded'>>,
): Promise<void> {
  site.model.writeNode(name, change);
  if (change.ready !== undefined) await writeNodeStatus(site, name);
  if (change.excluded !== undefined) {
    const labels = { [EXCLUDED_LABEL]: change.excluded ? '' : null };
    await site.api.patch(`/api/v1/nodes/${name}`, { metadata: { labels } });
  }
}

export async function removeNode(site: Site, name: string): Promise<void> {
  site.model.writeNode(name, undefined);
  await site.api.remove(`/api/v1/nodes/${name}`);
}

async function writeNodeStatus(site: Site, name: string): Promise<void> {
  const { address, ready } = site.model.nodes.get(name) ?? {};
  await site.api.patch(`/api/v1/nodes/${name}/status`, {
    status: {
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: ready === true ? 'True' : 'False' }],
    },
  });
}
