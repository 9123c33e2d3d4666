import { type Change, live, newName, services } from './change.ts';
import type { Upstream } from './model.ts';
import { writeKept } from './owners.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';
import { backendsFrom } from './upstream-changes.ts';
import { makeUpstream } from './upstreams.ts';

const MOST_KEPT = 4;

/** The nodes that the owner of an upstream writes. They are always outdated. */
export const OWNERS_NODES = [{ host: '192.0.2.7', port: 7, weight: 7 }];

/** Creates an upstream of another owner, and an object that manages its nodes. */
export async function keepRandomNodes(
  site: Site,
  random: Random,
  namespace: string,
  name: string,
): Promise<Upstream | undefined> {
  const found = services(site).filter((service) => service.namespace === namespace);
  if (found.length === 0) return undefined;
  const id = `kept.${namespace}.${name}`;
  writeKept(site, id, {
    name: `of another owner for ${name}`,
    type: 'roundrobin',
    retries: random.between(0, 9),
    labels: { team: 'a' },
    nodes: OWNERS_NODES,
  });
  return await makeUpstream(site, {
    namespace,
    name,
    id,
    manage: 'Nodes',
    backends: backendsFrom(site, found, random),
    guarded: random.fraction() < 0.5,
    syncPolicy: 'Sync',
    deletionPolicy: 'Delete',
  });
}

export const KEPT_CHANGES: readonly Change[] = [
  {
    name: 'manage: Nodes object created',
    weight: 4,
    async apply(site, random) {
      if (live(site).filter(({ manage }) => manage === 'Nodes').length >= MOST_KEPT) return undefined;
      const namespace = random.pick([...site.model.namespaces]);
      const upstream = await keepRandomNodes(site, random, namespace, newName(site, 'k'));
      return upstream && `${upstream.id} ${JSON.stringify(upstream.backends)}`;
    },
  },
];
