import { EUREKA_USER, EurekaServer } from '../../test/support/registries/eureka-server.ts';
import { clientChanges, timed } from './client-changes.ts';
import type { LoadedRegistry, LoadInstance } from './registry.ts';

/** The default of `pollInterval`. */
const POLL_INTERVAL_MS = 5000;
/** An instance sends one heartbeat, and expires this long after it. The operator must have seen it before. */
const LEASE_SECONDS = 12;

export async function openEureka(): Promise<LoadedRegistry> {
  const server = await EurekaServer.start();
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
    ...clientChanges(register, deregister),
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
