import { monotonicMs } from '../../test/support/monotonic.ts';
import type { Effect, LoadedRegistry, LoadInstance } from './registry.ts';

type Send = (service: string, instance: LoadInstance) => Promise<unknown>;

/** Changes by the requests that a client of a registry sends for one instance. The address and port identify an instance. */
export function clientChanges(
  register: Send,
  deregister: Send,
): Pick<LoadedRegistry, 'fill' | 'register' | 'change' | 'deregister'> {
  return {
    async fill(service, instances) {
      await Promise.all(instances.map((instance) => register(service, instance)));
    },
    register: (service, instance) => timed(() => register(service, instance)),
    change: (service, before, after) =>
      timed(async () => {
        await register(service, after);
        await deregister(service, before);
      }),
    deregister: (service, instance) => timed(() => deregister(service, instance)),
  };
}

export async function timed(send: () => Promise<unknown>): Promise<Effect> {
  const from = monotonicMs();
  await send();
  return { from, at: monotonicMs() };
}
