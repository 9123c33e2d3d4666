import { monotonicMs } from '../../test/support/monotonic.ts';
import { EUREKA_USER, EurekaServer } from '../../test/support/registries/eureka-server.ts';
import type { Effect, LoadedRegistry, LoadInstance } from './registry.ts';

/** The default of `pollInterval`. */
const POLL_INTERVAL_MS = 5000;
/** An instance sends one heartbeat, and expires this long after it. The operator must have seen it before. */
const LEASE_SECONDS = 12;

export async function openEureka(): Promise<LoadedRegistry> {
  const server = await EurekaServer.start();
  const timed = async (send: () => Promise<unknown>): Promise<Effect> => {
    const from = monotonicMs();
    await send();
    return { from, at: monotonicMs() };
  };
  const register = (service: string, instance: LoadInstance, leaseSeconds?: number) =>
    server.update(service, { ...placeOf(instance), status: 'UP' }, leaseSeconds);
  const deregister = (service: string, instance: LoadInstance) =>
    server.deregister(service, placeOf(instance));
  return {
    type: 'Eureka',
    url: server.url,
    secret: { ...EUREKA_USER },
    spec: (url) => ({
      type: 'Eureka',
      eureka: {
        servers: [new URL('/eureka', url).href],
        usernameSecretRef: { name: 'registry' },
        passwordSecretRef: { name: 'registry' },
      },
    }),
    notification: { kind: 'poll', intervalMs: POLL_INTERVAL_MS },
    async fill(service, instances) {
      await Promise.all(instances.map((instance) => register(service, instance)));
    },
    register: (service, instance) => timed(() => register(service, instance)),
    // The port is part of the id of an instance.
    change: (service, before, after) =>
      timed(async () => {
        await register(service, after);
        await deregister(service, before);
      }),
    deregister: (service, instance) => timed(() => deregister(service, instance)),
    async registerExpiring(service, instance) {
      const { from, at } = await timed(() => register(service, instance, LEASE_SECONDS));
      return { from, at: at + LEASE_SECONDS * 1000 };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function placeOf({ host, port }: LoadInstance) {
  return { ip: host, port };
}
