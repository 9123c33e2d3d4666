import type { DeletionPolicy, Health, Service, Slice, SyncPolicy, Upstream } from './model.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';

/** One kind of change that people and controllers make in a cluster. */
export interface Change {
  readonly name: string;
  /** How often, relative to the others. */
  readonly weight: number;
  /** Resolves to what it did, or to undefined where there was nothing that it could be done to. */
  apply(site: Site, random: Random): Promise<string | undefined>;
}

const MOST_UPSTREAMS = 12;
const MOST_SERVICES = 10;

const live = ({ model }: Site) => [...model.upstreams.values()].filter(({ state }) => state === 'live');
const services = ({ model }: Site) =>
  [...model.services.values()].filter(({ namespace }) => model.namespaces.has(namespace));

/** A change of one slice of a Service. */
function endpoints(
  name: string,
  weight: number,
  next: (slice: Slice, site: Site, random: Random) => Slice,
): Change {
  return {
    name,
    weight,
    async apply(site, random) {
      const found = services(site).filter(({ slices }) => slices.size > 0);
      if (found.length === 0) return undefined;
      const service = random.pick(found);
      const [slice, content] = random.pick([...service.slices]);
      const changed = next(content, site, random);
      await site.writeSlice(service, slice, changed);
      return `${service.namespace} ${slice} ${JSON.stringify(changed)}`;
    },
  };
}

/** A change of the spec of one GatewayUpstream; `next` gives undefined where there is nothing to change. */
function edit(
  name: string,
  weight: number,
  next: (upstream: Upstream, site: Site, random: Random) => Parameters<Site['editUpstream']>[1] | undefined,
): Change {
  return {
    name,
    weight,
    async apply(site, random) {
      const found = live(site);
      if (found.length === 0) return undefined;
      const upstream = random.pick(found);
      const changed = next(upstream, site, random);
      if (changed === undefined) return undefined;
      await site.editUpstream(upstream, changed);
      return `${upstream.id} ${JSON.stringify(changed)}`;
    },
  };
}

/** Every address of `slice` whose health is `from`, or one of them, has another one. */
function turned(slice: Slice, from: Health, to: Health, only?: string): Slice {
  return Object.fromEntries(
    Object.entries(slice).map(([address, health]) => [
      address,
      health === from && (only === undefined || only === address) ? to : health,
    ]),
  );
}

function oneReady(slice: Slice, random: Random): string {
  const ready = Object.keys(slice).filter((address) => slice[address] === 'ready');
  return ready.length === 0 ? '' : random.pick(ready);
}

const keptOf = (slice: Slice, keep: (health: Health) => boolean): Slice =>
  Object.fromEntries(Object.entries(slice).filter(([, health]) => keep(health)));

export async function makeRandomService(
  site: Site,
  random: Random,
  namespace: string,
  name: string,
): Promise<Service> {
  const slices = Array.from({ length: random.between(1, 2) }, () =>
    Object.fromEntries(
      Array.from({ length: random.between(1, 3) }, (): [string, Health] => [
        site.model.newAddress(),
        'ready',
      ]),
    ),
  );
  return await site.makeService(namespace, name, slices);
}

export async function makeRandomUpstream(
  site: Site,
  random: Random,
  namespace: string,
  name: string,
): Promise<Upstream | undefined> {
  const found = services(site).filter((service) => service.namespace === namespace);
  if (found.length === 0) return undefined;
  return await site.makeUpstream({
    namespace,
    name,
    backends: backendsFrom(found, random),
    guarded: random.fraction() < 0.5,
    syncPolicy: random.fraction() < 0.85 ? 'Sync' : random.pick<SyncPolicy>(['UpsertOnly', 'Observe']),
    deletionPolicy: random.fraction() < 0.8 ? 'Delete' : random.pick<DeletionPolicy>(['Orphan', 'Force']),
  });
}

function backendsFrom(found: readonly Service[], random: Random) {
  const first = random.pick(found).name;
  const second = random.pick(found).name;
  if (second === first || random.fraction() < 0.6) return [{ service: first, weight: 1 }];
  return [
    { service: first, weight: random.between(1, 100) },
    { service: second, weight: random.between(0, 100) },
  ];
}

/** A name that was not used in this run. */
function newName(site: Site, prefix: string): string {
  return `${prefix}${site.model.owned.size + site.model.services.size}`;
}

export const CHANGES: readonly Change[] = [
  endpoints('endpoint added', 8, (slice, { model }) => ({ ...slice, [model.newAddress()]: 'ready' })),
  endpoints('endpoint replaced', 8, (slice, { model }, random) => ({
    ...turned(
      keptOf(slice, (health) => health !== 'ending'),
      'ready',
      'draining',
      oneReady(slice, random),
    ),
    [model.newAddress()]: 'ready',
  })),
  endpoints('endpoint sick', 5, (slice, _, random) =>
    turned(slice, 'ready', 'sick', oneReady(slice, random)),
  ),
  endpoints('all sick', 2, (slice) => turned(slice, 'ready', 'sick')),
  endpoints('all well', 8, (slice) => turned(slice, 'sick', 'ready')),
  endpoints('all draining', 2, (slice) => turned(slice, 'ready', 'draining')),
  endpoints('drained ones ending', 3, (slice) => turned(slice, 'draining', 'ending')),
  endpoints('ended ones gone', 5, (slice) =>
    keptOf(slice, (health) => health !== 'ending' && health !== 'draining'),
  ),
  endpoints('endpoint vanished', 2, (slice, _, random) => {
    const gone = oneReady(slice, random);
    return Object.fromEntries(Object.entries(slice).filter(([address]) => address !== gone));
  }),
  {
    name: 'endpoint moved to another slice',
    weight: 5,
    async apply(site, random) {
      const found = services(site).filter(({ slices }) => slices.size > 1);
      if (found.length === 0) return undefined;
      const service = random.pick(found);
      const [from, to] = random
        .pick([
          [0, 1],
          [1, 0],
        ])
        .map((index) => [...service.slices.keys()][index] ?? '');
      if (from === undefined || to === undefined) return undefined;
      const source = service.slices.get(from) ?? {};
      const moved = oneReady(source, random);
      if (moved === '') return undefined;
      // As the controller does it: in both for a moment, in none never.
      await site.writeSlice(service, to, { ...service.slices.get(to), [moved]: 'ready' });
      const rest = Object.fromEntries(Object.entries(source).filter(([address]) => address !== moved));
      await site.writeSlice(service, from, rest);
      return `${service.namespace} ${moved} from ${from} to ${to}`;
    },
  },
  {
    name: 'service made',
    weight: 4,
    async apply(site, random) {
      const gone = services(site).filter(({ exists }) => !exists);
      const again = gone.length > 0 && random.fraction() < 0.7 ? random.pick(gone) : undefined;
      if (again === undefined && services(site).length >= MOST_SERVICES) return undefined;
      const namespace = again?.namespace ?? random.pick([...site.model.namespaces]);
      const service = await makeRandomService(site, random, namespace, again?.name ?? newName(site, 's'));
      return `${service.namespace}/${service.name}`;
    },
  },
  {
    name: 'service deleted',
    weight: 2,
    async apply(site, random) {
      const found = services(site).filter(({ exists }) => exists);
      if (found.length < 3) return undefined;
      const service = random.pick(found);
      await site.removeService(service);
      return `${service.namespace}/${service.name}`;
    },
  },
  {
    name: 'upstream made',
    weight: 6,
    async apply(site, random) {
      if (live(site).length >= MOST_UPSTREAMS) return undefined;
      const namespace = random.pick([...site.model.namespaces]);
      const upstream = await makeRandomUpstream(site, random, namespace, newName(site, 'u'));
      return upstream && `${upstream.id} ${JSON.stringify(upstream.backends)}`;
    },
  },
  {
    name: 'upstream deleted',
    weight: 4,
    async apply(site, random) {
      const found = live(site);
      if (found.length < 4) return undefined;
      const upstream = random.pick(found);
      await site.removeUpstream(upstream);
      return `${upstream.id} with ${upstream.deletionPolicy}`;
    },
  },
  edit('upstream edited', 5, (_upstream, _site, random) => ({ retries: random.between(0, 9) })),
  edit('backends changed', 5, (upstream, site, random) => {
    const here = services(site).filter(({ namespace }) => namespace === upstream.namespace);
    return here.length === 0 ? undefined : { backends: backendsFrom(here, random) };
  }),
  edit('sync policy changed', 3, (upstream, _site, random) => {
    const syncPolicy = random.pick<SyncPolicy>(['Sync', 'Sync', 'UpsertOnly', 'Observe']);
    return syncPolicy === upstream.syncPolicy ? undefined : { syncPolicy };
  }),
  edit('deletion policy changed', 3, (_upstream, _site, random) => ({
    deletionPolicy: random.pick<DeletionPolicy>(['Delete', 'Orphan', 'Force']),
  })),
  {
    name: 'namespace made',
    weight: 1,
    async apply(site, random) {
      if (site.model.namespaces.size > 2) return undefined;
      const namespace = `${site.name}-${newName(site, 'n')}`;
      await site.makeNamespace(namespace);
      await makeRandomService(site, random, namespace, newName(site, 's'));
      await makeRandomUpstream(site, random, namespace, newName(site, 'u'));
      return namespace;
    },
  },
  {
    name: 'namespace deleted',
    weight: 1,
    async apply(site) {
      const [, , namespace] = site.model.namespaces;
      if (namespace === undefined) return undefined;
      await site.removeNamespace(namespace);
      return namespace;
    },
  },
];
