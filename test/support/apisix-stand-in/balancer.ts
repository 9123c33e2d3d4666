/** A node in the data plane. `address` is `host:port`; IPv6 hosts keep their brackets. */
export interface BalancedNode {
  readonly address: string;
  readonly host: string;
  readonly port: number;
  /** The written host, with the port unless it is the standard one. */
  readonly name: string;
  readonly weight: number;
  readonly priority: number;
}

export interface Balancer {
  /** The next node that is not in `tried`; undefined if there is none. */
  next(tried: ReadonlySet<string>): BalancedNode | undefined;
}

/**
 * Smooth weighted round robin over the nodes of the highest priority. Retries of a request continue with the next priority.
 * A node with weight 0 gets no traffic, unless all nodes have weight 0: then all share equally (measured with APISIX 3.18).
 */
export function createBalancer(nodes: readonly BalancedNode[]): Balancer {
  const weighted = nodes.filter(({ weight }) => weight > 0);
  const eligible =
    weighted.length > 0 ? weighted : nodes.map((node) => ({ ...node, weight: 1, priority: 0 }));
  const credits = new Map<string, number>();

  return {
    next(tried) {
      const untried = eligible.filter(({ address }) => !tried.has(address));
      const priority = Math.max(...untried.map((node) => node.priority));
      const group = untried.filter((node) => node.priority === priority);
      let best: BalancedNode | undefined;
      let total = 0;
      for (const node of group) {
        total += node.weight;
        credits.set(node.address, (credits.get(node.address) ?? 0) + node.weight);
        if (best === undefined || creditOf(node) > creditOf(best)) best = node;
      }
      if (best !== undefined) credits.set(best.address, creditOf(best) - total);
      return best;
    },
  };

  function creditOf({ address }: BalancedNode): number {
    return credits.get(address) ?? 0;
  }
}
