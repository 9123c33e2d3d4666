import { type Change, services } from './change.ts';
import type { Health, Slice } from './places.ts';
import type { Random } from './random.ts';
import { writeSlice } from './services.ts';
import type { Site } from './site.ts';

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
      await writeSlice(site, service, slice, changed);
      return `${service.namespace} ${slice} ${JSON.stringify(changed)}`;
    },
  };
}

/** Changes the health of all endpoints, or of one, from `from` to another value. */
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

export const ENDPOINT_CHANGES: readonly Change[] = [
  endpoints('endpoint added', 8, (slice, { model }) => ({ ...slice, [model.newEndpoint()]: 'ready' })),
  endpoints('endpoint replaced', 8, (slice, { model }, random) => ({
    ...turned(
      keptOf(slice, (health) => health !== 'ending'),
      'ready',
      'draining',
      oneReady(slice, random),
    ),
    [model.newEndpoint()]: 'ready',
  })),
  endpoints('endpoint not ready', 5, (slice, _, random) =>
    turned(slice, 'ready', 'sick', oneReady(slice, random)),
  ),
  endpoints('all endpoints not ready', 2, (slice) => turned(slice, 'ready', 'sick')),
  endpoints('all endpoints ready', 8, (slice) => turned(slice, 'sick', 'ready')),
  endpoints('all endpoints terminating', 2, (slice) => turned(slice, 'ready', 'draining')),
  endpoints('terminating endpoints stop serving', 3, (slice) => turned(slice, 'draining', 'ending')),
  endpoints('terminated endpoints removed', 5, (slice) =>
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
      // Like the EndpointSlice controller: in both slices for a moment, never in none.
      await writeSlice(site, service, to, { ...service.slices.get(to), [moved]: 'ready' });
      const rest = Object.fromEntries(Object.entries(source).filter(([address]) => address !== moved));
      await writeSlice(site, service, from, rest);
      return `${service.namespace} ${moved} from ${from} to ${to}`;
    },
  },
];
