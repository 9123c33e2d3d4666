import { type Change, live, services } from './change.ts';
import type { Upstream } from './model.ts';
import type { Service } from './places.ts';
import type { Random } from './random.ts';
import { exposeService } from './services.ts';
import type { Site } from './site.ts';
import { editSet, makeSet, removeSet } from './upstream-set.ts';
import { pathOf } from './upstreams.ts';

function exposure(name: string, weight: number, exposed: boolean): Change {
  const isMeant = (service: Service) => service.exists && service.exposed !== exposed;
  return {
    name,
    weight,
    async apply(site, random) {
      const found = services(site).filter(isMeant);
      if (found.length === 0) return undefined;
      const service = random.pick(found);
      await exposeService(site, service, exposed);
      return `${service.namespace}/${service.name}`;
    },
  };
}

/** A change of a member of the set by another client. */
function meddling(
  name: string,
  weight: number,
  meddle: (site: Site, member: Upstream, random: Random) => Promise<void>,
): Change {
  return {
    name,
    weight,
    async apply(site, random) {
      // Other members may not exist yet, or not any more.
      const found = live(site).filter(({ isMember, settled }) => isMember && settled !== undefined);
      if (found.length === 0) return undefined;
      const member = random.pick(found);
      await meddle(site, member, random);
      return member.id;
    },
  };
}

export const SET_CHANGES: readonly Change[] = [
  exposure('service exposed', 8, true),
  exposure('service no longer exposed', 4, false),
  meddling('member of the set edited', 2, async ({ api }, member, random) => {
    await api.patch(pathOf(member), { spec: { retries: random.between(10, 19) } });
  }),
  meddling('member of the set deleted', 2, async ({ api }, member) => {
    Object.assign(member, { flapped: true, settled: undefined });
    await api.remove(pathOf(member));
  }),
  {
    name: 'template of the set changed',
    weight: 3,
    async apply(site, random) {
      if (!site.model.set.exists) return undefined;
      const retries = random.between(0, 9);
      await editSet(site, retries);
      return `retries ${retries}`;
    },
  },
  {
    name: 'set deleted',
    weight: 1,
    async apply(site) {
      if (!site.model.set.exists) return undefined;
      await removeSet(site);
      return '';
    },
  },
  {
    name: 'set created',
    weight: 25,
    async apply(site) {
      if (site.model.set.exists) return undefined;
      await makeSet(site);
      return '';
    },
  },
];
