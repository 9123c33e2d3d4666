import type { Change } from './change.ts';
import { changeNode, makeNode, removeNode } from './nodes.ts';
import type { ClusterNode } from './places.ts';

const MOST_NODES = 5;

/** A change of a cluster node that matches `isMeant`. */
function nodeChange(
  name: string,
  weight: number,
  isMeant: (node: ClusterNode) => boolean,
  change: Partial<ClusterNode>,
): Change {
  return {
    name,
    weight,
    async apply(site, random) {
      const found = [...site.model.nodes].filter(([, node]) => isMeant(node));
      if (found.length === 0) return undefined;
      const [node] = random.pick(found);
      await changeNode(site, node, change);
      return node;
    },
  };
}

export const NODE_CHANGES: readonly Change[] = [
  {
    name: 'node created',
    weight: 3,
    async apply(site) {
      if (site.model.nodes.size >= MOST_NODES) return undefined;
      return await makeNode(site);
    },
  },
  nodeChange('node not ready', 5, ({ ready }) => ready, { ready: false }),
  nodeChange('node ready', 5, ({ ready }) => !ready, { ready: true }),
  nodeChange('node excluded', 2, ({ excluded }) => !excluded, { excluded: true }),
  nodeChange('node included', 3, ({ excluded }) => excluded, { excluded: false }),
  {
    name: 'node deleted',
    weight: 2,
    async apply(site, random) {
      const found = [...site.model.nodes.keys()];
      if (found.length === 0) return undefined;
      const node = random.pick(found);
      await removeNode(site, node);
      return node;
    },
  },
];
