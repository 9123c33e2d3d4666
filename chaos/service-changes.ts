import { type Change, newName, services } from './change.ts';
import { type Health, type Service, SHAPES, type Shape } from './places.ts';
import type { Random } from './random.ts';
import { makeService, removeService, reshapeService, writeBalancers } from './services.ts';
import type { Site } from './site.ts';

const MOST_SERVICES = 12;

/** The types that a Service which is not headless can change to. */
const WITH_ADDRESS = SHAPES.filter((shape) => shape !== 'Headless');

export async function makeRandomService(
  site: Site,
  random: Random,
  namespace: string,
  name: string,
  shape: Shape = random.pick([...SHAPES, 'NodePort', 'LoadBalancer']),
): Promise<Service> {
  const slices = Array.from({ length: random.between(1, 2) }, () =>
    Object.fromEntries(
      Array.from({ length: random.between(1, 3) }, (): [string, Health] => [
        site.model.newEndpoint(),
        'ready',
      ]),
    ),
  );
  const service = await makeService(site, namespace, name, {
    slices,
    shape,
    exposed: random.fraction() < 0.6,
    isLocal: random.fraction() < 0.5,
  });
  // One in four has no load balancer yet.
  if (shape === 'LoadBalancer' && random.fraction() < 0.75) await balanced(site, random, service);
  return service;
}

/** Assigns one or two load-balancer addresses, or a name. */
async function balanced(site: Site, random: Random, service: Service): Promise<void> {
  const name = random.fraction() < 0.3;
  const addresses = Array.from({ length: name ? 1 : random.between(1, 2) }, () => site.model.newAddress());
  const balancers = name
    ? addresses.map((address) => `lb-${address.replaceAll('.', '-')}.example.com`)
    : addresses;
  await writeBalancers(site, service, balancers);
}

function existing(site: Site, shapes: readonly Shape[]): readonly Service[] {
  return services(site).filter(({ exists, front }) => exists && shapes.includes(front.shape));
}

export const SERVICE_CHANGES: readonly Change[] = [
  {
    name: 'service created',
    weight: 4,
    async apply(site, random) {
      const gone = services(site).filter(({ exists }) => !exists);
      const again = gone.length > 0 && random.fraction() < 0.7 ? random.pick(gone) : undefined;
      if (again === undefined && services(site).length >= MOST_SERVICES) return undefined;
      const namespace = again?.namespace ?? random.pick([...site.model.namespaces]);
      const service = await makeRandomService(site, random, namespace, again?.name ?? newName(site, 's'));
      return `${service.namespace}/${service.name} ${JSON.stringify(service.front)}`;
    },
  },
  {
    name: 'service deleted',
    weight: 2,
    async apply(site, random) {
      const found = services(site).filter(({ exists }) => exists);
      if (found.length < 3) return undefined;
      const service = random.pick(found);
      await removeService(site, service);
      return `${service.namespace}/${service.name}`;
    },
  },
  {
    name: 'service type changed',
    weight: 3,
    async apply(site, random) {
      const found = existing(site, WITH_ADDRESS);
      if (found.length === 0) return undefined;
      const service = random.pick(found);
      const shape = random.pick(WITH_ADDRESS.filter((one) => one !== service.front.shape));
      await reshapeService(site, service, shape, random.fraction() < 0.5);
      return `${service.namespace}/${service.name} ${JSON.stringify(service.front)}`;
    },
  },
  {
    name: 'load balancer assigned',
    weight: 3,
    async apply(site, random) {
      const found = existing(site, ['LoadBalancer']);
      if (found.length === 0) return undefined;
      const service = random.pick(found);
      await balanced(site, random, service);
      return `${service.namespace}/${service.name} ${service.front.balancers.join(' ')}`;
    },
  },
  {
    name: 'load balancer removed',
    weight: 1,
    async apply(site, random) {
      const found = existing(site, ['LoadBalancer']);
      if (found.length === 0) return undefined;
      const service = random.pick(found);
      await writeBalancers(site, service, []);
      return `${service.namespace}/${service.name}`;
    },
  },
];
