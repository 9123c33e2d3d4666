import type { RegistryFault } from '../test/support/registries/fault-proxy.ts';
import type { Fault, Trouble } from './fault.ts';
import type { Random } from './random.ts';
import { type Registry, registerAgain, restartEmpty } from './registry.ts';
import type { Site } from './site.ts';

function registryFault(
  name: string,
  weight: number,
  strike: (registry: Registry, site: Site, random: Random) => Promise<Trouble>,
): Fault {
  return {
    name: `registry ${name}`,
    weight,
    place: 'registry',
    async strike(site, random) {
      return site.registry && (await strike(site.registry, site, random));
    },
  };
}

/** Requests through one proxy meet the fault, or through both. Then the operator does not know the instances. */
function serversFault(name: string, weight: number, fault: RegistryFault): Fault {
  return registryFault(name, weight, async ({ proxies }, _, random) => {
    const hit = random.fraction() < 0.3 ? [random.pick(proxies)] : proxies;
    const repairs = hit.map((proxy) => proxy.fail(fault));
    return {
      detail: hit.length === 1 ? ' on one of two servers' : '',
      steps: random.between(2, 40),
      async heal() {
        for (const repair of repairs) repair[Symbol.dispose]();
      },
    };
  });
}

export const REGISTRY_FAULTS: readonly Fault[] = [
  serversFault('closing connections', 4, 'closes every connection'),
  serversFault('hanging', 4, 'does not answer'),
  serversFault('sending only headers', 2, 'sends only headers'),
  serversFault('sending half responses', 3, 'truncates its answers'),
  serversFault('answering 500', 3, 'answers 500'),
  serversFault('answering with a web page', 2, 'answers with a web page'),
  serversFault('sending other JSON', 2, 'sends JSON of another shape'),
  serversFault('sending invalid UTF-8', 2, 'sends bytes that are not UTF-8'),
  registryFault('connections cut', 3, async ({ proxies }) => {
    for (const proxy of proxies) proxy.cut();
    return { detail: '' };
  }),
  registryFault('restarted empty', 5, async (_, site, random) => {
    await restartEmpty(site);
    // Often for longer than the removal guard keeps the nodes.
    return { detail: '', steps: random.between(1, 80), heal: () => registerAgain(site) };
  }),
  registryFault('killed', 4, async (registry, site, random) => {
    await registry.server.kill();
    registry.isRunning = false;
    return {
      detail: '',
      steps: random.between(2, 40),
      async heal() {
        await restartEmpty(site);
        await registerAgain(site);
      },
    };
  }),
  registryFault('credentials revoked', 5, async (registry, _, random) => {
    const { data, revoke } = await registry.server.issue();
    await registry.useCredentials(data);
    await revoke();
    return { detail: '', steps: random.between(2, 40), heal: () => registry.useCredentials() };
  }),
  registryFault('object deleted', 3, async (registry, _, random) => {
    await registry.remove();
    return { detail: '', steps: random.between(1, 20), heal: () => registry.create() };
  }),
  registryFault('asked with few queries', 3, async (registry, _, random) => {
    const queries = random.between(1, 3);
    await registry.limitQueries(queries);
    return { detail: ` ${queries}`, steps: random.between(3, 30), heal: () => registry.limitQueries() };
  }),
];
