import { type Change, live, newName, services } from './change.ts';
import type { Backend, DeletionPolicy, SyncPolicy, Upstream } from './model.ts';
import { MODES_OF, type Service } from './places.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';
import { editUpstream, makeUpstream, removeUpstream } from './upstreams.ts';

const MOST_UPSTREAMS = 16;

/** Upstreams whose objects users created. */
const ofPeople = (site: Site) => live(site).filter(({ isMember }) => !isMember);
/** Upstreams with `manage: Object`. */
const ofObjects = (site: Site) => ofPeople(site).filter(({ manage }) => manage === 'Object');

/** A change of the spec of one upstream of `among`. `next` returns undefined if there is nothing to change. */
function edit(
  name: string,
  weight: number,
  among: (site: Site) => readonly Upstream[],
  next: (upstream: Upstream, site: Site, random: Random) => Parameters<typeof editUpstream>[2] | undefined,
): Change {
  return {
    name,
    weight,
    async apply(site, random) {
      const found = among(site);
      if (found.length === 0) return undefined;
      const upstream = random.pick(found);
      const changed = next(upstream, site, random);
      if (changed === undefined) return undefined;
      await editUpstream(site, upstream, changed);
      return `${upstream.id} ${JSON.stringify(changed)}`;
    },
  };
}

export async function makeRandomUpstream(
  site: Site,
  random: Random,
  namespace: string,
  name: string,
): Promise<Upstream | undefined> {
  const found = services(site).filter((service) => service.namespace === namespace);
  if (found.length === 0) return undefined;
  const secrets = [...site.model.secrets.values()].filter((secret) => secret.namespace === namespace);
  const hasSecret = random.fraction() < 0.4 && secrets.length > 0;
  return await makeUpstream(site, {
    namespace,
    name,
    secret: hasSecret ? random.pick(secrets).name : undefined,
    backends: backendsFrom(site, found, random),
    guarded: random.fraction() < 0.5,
    syncPolicy: random.fraction() < 0.85 ? 'Sync' : random.pick<SyncPolicy>(['UpsertOnly', 'Observe']),
    deletionPolicy: random.fraction() < 0.8 ? 'Delete' : random.pick<DeletionPolicy>(['Orphan', 'Force']),
  });
}

/** The share of backends that refer to the registry. */
const IN_REGISTRY = 0.3;

/** One or two backends, possibly of the same Service and with the same nodes. */
export function backendsFrom(site: Site, found: readonly Service[], random: Random): readonly Backend[] {
  const registered = [...site.model.registered.services.keys()];
  const one = (): Omit<Backend, 'weight'> =>
    registered.length > 0 && random.fraction() < IN_REGISTRY
      ? { service: random.pick(registered), mode: 'Registry' }
      : backendOf(random.pick(found), random);
  const first = one();
  if (random.fraction() < 0.6) return [{ ...first, weight: 1 }];
  const second = one();
  return [
    { ...first, weight: random.between(1, 100) },
    { ...second, weight: random.between(0, 100) },
  ];
}

/** A mode that the Service's type supports. Half of the time, the one that only this type adds. */
function backendOf({ name, front }: Service, random: Random): Omit<Backend, 'weight'> {
  if (random.fraction() < 0.2) return { service: name };
  const modes = MODES_OF[front.shape];
  return { service: name, mode: random.pick(random.fraction() < 0.5 ? modes.slice(-1) : modes) };
}

export const UPSTREAM_CHANGES: readonly Change[] = [
  {
    name: 'upstream created',
    weight: 6,
    async apply(site, random) {
      if (ofObjects(site).length >= MOST_UPSTREAMS) return undefined;
      const namespace = random.pick([...site.model.namespaces]);
      const upstream = await makeRandomUpstream(site, random, namespace, newName(site, 'u'));
      return upstream && `${upstream.id} ${JSON.stringify(upstream.backends)}`;
    },
  },
  {
    name: 'upstream deleted',
    weight: 4,
    async apply(site, random) {
      const found = ofPeople(site);
      if (found.length < 4) return undefined;
      const upstream = random.pick(found);
      await removeUpstream(site, upstream);
      return `${upstream.id} with ${upstream.deletionPolicy}`;
    },
  },
  edit('upstream edited', 5, ofObjects, (_upstream, _site, random) => ({ retries: random.between(0, 9) })),
  edit('backends changed', 6, ofPeople, (upstream, site, random) => {
    const here = services(site).filter(({ namespace }) => namespace === upstream.namespace);
    return here.length === 0 ? undefined : { backends: backendsFrom(site, here, random) };
  }),
  edit('sync policy changed', 3, ofObjects, (upstream, _site, random) => {
    const syncPolicy = random.pick<SyncPolicy>(['Sync', 'Sync', 'UpsertOnly', 'Observe']);
    return syncPolicy === upstream.syncPolicy ? undefined : { syncPolicy };
  }),
  edit('deletion policy changed', 3, ofObjects, (_upstream, _site, random) => ({
    deletionPolicy: random.pick<DeletionPolicy>(['Delete', 'Orphan', 'Force']),
  })),
];
