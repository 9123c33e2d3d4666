import type { Fault } from './fault.ts';
import { OWNERS_NODES } from './kept-changes.ts';
import type { Model } from './model.ts';
import { rememberForeign, rememberKept, writeForeign, writeKept } from './owners.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';

/** Changes of the gateway's content by other clients. */
export const CONTENT_FAULTS: readonly Fault[] = [
  {
    name: 'gateway restarted empty',
    weight: 3,
    place: 'gateway content',
    async strike(site) {
      const { foreign, kept } = site.model;
      site.gateway.wipe();
      // The owners restore their upstreams before another client can use the ids.
      for (const [id, value] of foreign) writeForeign(site, id, JSON.parse(value));
      for (const [id, fields] of kept) {
        if (fields !== undefined) writeKept(site, id, { ...JSON.parse(fields), nodes: OWNERS_NODES });
      }
      return { detail: '' };
    },
  },
  {
    name: 'gateway restored from backup',
    weight: 3,
    place: 'gateway content',
    async strike(site, random) {
      const { gateway, model } = site;
      const saved = gateway.save();
      const known = new Set(model.foreign.keys());
      return {
        detail: ' to this step',
        steps: random.between(5, 30),
        heal: async () => {
          gateway.restore(saved);
          for (const id of model.foreign.keys()) if (!known.has(id)) model.foreign.delete(id);
          rememberForeign(site, known);
          rememberKept(site, model.kept.keys());
        },
      };
    },
  },
  ofOurs('edited', ({ gateway }, id) => {
    const { labels } = gateway.get('upstreams', id) ?? {};
    gateway.put('upstreams', id, {
      type: 'roundrobin',
      nodes: [{ host: '192.0.2.1', port: 1, weight: 1 }],
      labels,
    });
  }),
  ofOurs('deleted', ({ gateway }, id) => gateway.remove('upstreams', id)),
  {
    name: 'foreign upstream edited by its owner',
    weight: 4,
    place: 'gateway content',
    async strike(site, random) {
      const id = random.pick([...site.model.foreign.keys()]);
      const { labels } = site.gateway.get('upstreams', id) ?? {};
      const host = `203.0.113.${random.between(1, 254)}`;
      writeForeign(site, id, {
        type: 'roundrobin',
        nodes: [{ host, port: 80, weight: 1 }],
        ...(labels === undefined ? {} : { labels }),
      });
      return { detail: ` ${id}` };
    },
  },
  {
    name: 'manage: Nodes upstream edited by its owner',
    weight: 8,
    place: 'gateway content',
    async strike(site, random) {
      const id = idOfKept(site.model, random);
      if (id === undefined) return undefined;
      const retries = random.between(0, 9);
      // One in three owners writes the whole upstream, with outdated nodes.
      const nodes = random.fraction() < 0.3 ? { nodes: OWNERS_NODES } : {};
      const { update_time: _, ...before } = site.gateway.get('upstreams', id) ?? {};
      writeKept(site, id, { ...before, retries, ...nodes });
      return { detail: ` ${id} ${JSON.stringify({ retries, ...nodes })}` };
    },
  },
  {
    name: 'manage: Nodes upstream deleted by its owner',
    weight: 3,
    place: 'gateway content',
    async strike(site, random) {
      const id = idOfKept(site.model, random);
      if (id === undefined) return undefined;
      const fields = site.model.kept.get(id) ?? '{}';
      site.gateway.remove('upstreams', id);
      rememberKept(site, [id]);
      return {
        detail: ` ${id}`,
        steps: random.between(1, 12),
        heal: async () => writeKept(site, id, { ...JSON.parse(fields), nodes: OWNERS_NODES }),
      };
    },
  },
];

/** The id of an existing upstream with `manage: Nodes`. */
function idOfKept({ kept }: Model, random: Random): string | undefined {
  const found = [...kept].filter(([, fields]) => fields !== undefined);
  return found.length === 0 ? undefined : random.pick(found)[0];
}

/** A change of an owned upstream by another client. */
function ofOurs(done: string, strike: (site: Site, id: string) => void): Fault {
  return {
    name: `owned upstream ${done} by another client`,
    weight: 5,
    place: 'gateway content',
    async strike(site, random) {
      const id = idOfOurs(site.model, site.gateway.ids('upstreams'), random);
      if (id === undefined) return undefined;
      strike(site, id);
      return { detail: ` ${id}` };
    },
  };
}

function idOfOurs({ upstreams, kept }: Model, held: readonly string[], random: Random): string | undefined {
  const found = [...upstreams.keys()].filter((id) => held.includes(id) && !kept.has(id));
  return found.length === 0 ? undefined : random.pick(found);
}
