import type { Change } from './change.ts';
import { PORT } from './places.ts';
import type { Random } from './random.ts';
import type { Instance, InstanceHealth, RegisteredService } from './registered.ts';
import { writeInstances } from './registry.ts';
import type { Site } from './site.ts';

const MOST_SERVICES = 6;
const MOST_WEIGHT = 5;

/** Registers one to three passing instances of a new service. */
export async function makeRandomRegistered(site: Site, random: Random): Promise<string> {
  const name = `r${site.model.registered.services.size + 1}`;
  const count = random.between(1, 3);
  await writeInstances(
    site,
    name,
    Array.from({ length: count }, () => newInstance(site, random)),
  );
  return name;
}

function newInstance({ model }: Site, random: Random): Instance {
  // Half of the instances have the default weight.
  const weight = random.fraction() < 0.5 ? 1 : random.between(1, MOST_WEIGHT);
  return { host: model.newAddress(), port: PORT, health: 'passing', weight };
}

/** Whether the suite can write to the registry now. */
function isWritable({ model, registry }: Site): boolean {
  return registry?.isRunning === true && model.registered.isListed;
}

/** A change of the instances of one service. `next` returns undefined if there is nothing to change. */
function instances(
  name: string,
  weight: number,
  next: (service: RegisteredService, site: Site, random: Random) => readonly Instance[] | undefined,
): Change {
  return {
    name,
    weight,
    async apply(site, random) {
      const found = [...site.model.registered.services.values()];
      if (!isWritable(site) || found.length === 0) return undefined;
      const service = random.pick(found);
      const changed = next(service, site, random);
      if (changed === undefined) return undefined;
      await writeInstances(site, service.name, changed);
      return `${service.name} ${JSON.stringify(changed)}`;
    },
  };
}

/** Changes one instance among those with health `from`. */
function one(
  { instances: all }: RegisteredService,
  from: readonly InstanceHealth[],
  random: Random,
  change: (instance: Instance) => readonly Instance[],
): readonly Instance[] | undefined {
  const found = all.filter(({ health }) => from.includes(health));
  if (found.length === 0) return undefined;
  const chosen = random.pick(found);
  return all.flatMap((instance) => (instance === chosen ? change(instance) : [instance]));
}

export const REGISTRY_CHANGES: readonly Change[] = [
  instances('instance registered', 8, ({ instances: all }, site, random) => [
    ...all,
    newInstance(site, random),
  ]),
  instances('instance replaced', 8, (service, site, random) =>
    one(service, ['passing', 'critical', 'maintenance'], random, () => [newInstance(site, random)]),
  ),
  instances('instance deregistered', 4, (service, _, random) =>
    one(service, ['passing', 'critical', 'maintenance'], random, () => []),
  ),
  instances('instance critical', 5, (service, _, random) =>
    one(service, ['passing'], random, (instance) => [{ ...instance, health: 'critical' }]),
  ),
  instances('instance in maintenance', 4, (service, _, random) =>
    one(service, ['passing'], random, (instance) => [{ ...instance, health: 'maintenance' }]),
  ),
  instances('all instances critical', 2, ({ instances: all }) =>
    all.map((instance) => ({ ...instance, health: 'critical' })),
  ),
  instances('all instances passing', 8, ({ instances: all }) =>
    all.some(({ health }) => health !== 'passing')
      ? all.map((instance) => ({ ...instance, health: 'passing' }))
      : undefined,
  ),
  instances('instance weight changed', 5, (service, _, random) =>
    one(service, ['passing'], random, (instance) => [
      { ...instance, weight: random.between(1, MOST_WEIGHT) },
    ]),
  ),
  instances('second instance on one address', 3, (service, _, random) =>
    one(service, ['passing'], random, (instance) =>
      service.instances.some(({ host, port }) => host === instance.host && port === instance.port + 1)
        ? [instance]
        : [instance, { ...instance, port: instance.port + 1 }],
    ),
  ),
  instances('all instances deregistered', 1, () => []),
  {
    name: 'registry service created',
    weight: 2,
    async apply(site, random) {
      if (!isWritable(site) || site.model.registered.services.size >= MOST_SERVICES) return undefined;
      return await makeRandomRegistered(site, random);
    },
  },
];
