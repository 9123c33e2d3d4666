import { setTimeout as sleep } from 'node:timers/promises';
import type { RecordedRequest } from '../../test/support/apisix-stand-in/stand-in.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import type { Operator } from '../../test/support/operator.ts';
import { Ledger } from '../ledger.ts';
import { quantiles } from '../measure.ts';
import type { Remote } from '../remote.ts';
import { assertRuns } from '../scene.ts';
import type { FloorHandlers } from './floor-process.ts';
import type { Effect, LoadInstance } from './registry.ts';
import type { Kind, KindLatency } from './results.ts';
import type { RegistryScene, Subject } from './scene.ts';

/** One change, and how it shows in the gateway and in the registry's answers. */
interface Made extends Effect {
  readonly subject: Subject;
  readonly place: string;
  /** What happens to `place`. An instance that expires appears first. */
  readonly shows: 'appears' | 'disappears' | 'expires';
}

/** The nodes of one service at one time. */
export interface Sighting {
  readonly id: string;
  readonly at: number;
  readonly places: ReadonlySet<string>;
}

export interface LatencyOptions {
  readonly kind: Kind;
  readonly changes: number;
  readonly rate: number;
  /** A change that is not in the gateway this long after the last one is lost. */
  readonly lostAfterMs: number;
}

/** Makes changes of one kind, and measures the time until the gateway and the floor have them. */
export async function measureKind(
  scene: RegistryScene,
  operator: Operator,
  floor: Remote<FloorHandlers> | undefined,
  { kind, changes, rate, lostAfterMs }: LatencyOptions,
): Promise<KindLatency> {
  const ledger = new Ledger();
  ledger.enter(await scene.gateway.ask('take'));
  await floor?.ask('take');
  const made: Made[] = [];
  const underWay: Promise<unknown>[] = [];
  const began = performance.now();
  for (let index = 0; index < changes; index += 1) {
    await sleep(Math.max(0, began + (index * 1000) / rate - performance.now()));
    const subject = scene.subjects[index % scene.subjects.length];
    if (subject !== undefined) underWay.push(makeChange(scene, kind, subject).then((one) => made.push(one)));
  }
  await Promise.all(underWay);

  const requests: RecordedRequest[] = [];
  const deadline = Math.max(...made.map(({ at }) => at)) + lostAfterMs;
  let arrivals: readonly (number | undefined)[] = [];
  do {
    await sleep(200);
    assertRuns(operator);
    requests.push(...(await scene.gateway.ask('take')));
    const writes = writesIn(requests);
    arrivals = made.map((change) => firstWith(change, change.subject.id, writes));
  } while (arrivals.includes(undefined) && monotonicMs() < deadline);

  const notices = (await floor?.ask('take'))?.map(({ service, at, places }) => ({
    id: service,
    at,
    places: new Set(places),
  }));
  const noticed = notices && made.map((change) => firstWith(change, change.subject.service, notices));
  const lateness = (times: readonly (number | undefined)[]) =>
    quantiles(
      made.flatMap(({ at }, index) => {
        const seen = times[index];
        return seen === undefined ? [] : [seen - at];
      }),
    );
  return {
    changes,
    gateway: lateness(arrivals),
    notification: noticed && lateness(noticed),
    lost: made.flatMap(({ subject, place }, index) =>
      arrivals[index] === undefined ? [`${kind} of ${place} in ${subject.service}`] : [],
    ),
    needless: ledger.enter(requests).needless,
  };
}

async function makeChange(scene: RegistryScene, kind: Kind, subject: Subject): Promise<Made> {
  const { registry } = scene;
  const { service, instances } = subject;
  const [oldest] = instances;
  if (oldest === undefined) throw new Error(`${service} has no instance left: use fewer changes`);
  switch (kind) {
    case 'register': {
      const instance = scene.newInstance();
      instances.push(instance);
      return {
        ...(await registry.register(service, instance)),
        subject,
        place: placeOf(instance),
        shows: 'appears',
      };
    }
    case 'change': {
      const moved = { ...oldest, port: oldest.port + 1 };
      instances.splice(0, 1);
      instances.push(moved);
      return {
        ...(await registry.change(service, oldest, moved)),
        subject,
        place: placeOf(moved),
        shows: 'appears',
      };
    }
    case 'deregister':
      instances.splice(0, 1);
      return {
        ...(await registry.deregister(service, oldest)),
        subject,
        place: placeOf(oldest),
        shows: 'disappears',
      };
    case 'expire': {
      const instance = scene.newInstance();
      const effect = await registry.registerExpiring(service, instance);
      return { ...effect, subject, place: placeOf(instance), shows: 'expires' };
    }
    default:
      return kind satisfies never;
  }
}

/** When `id` first showed the change. */
export function firstWith(
  { from, place, shows }: Pick<Made, 'from' | 'place' | 'shows'>,
  id: string,
  sightings: readonly Sighting[],
): number | undefined {
  const own = sightings.filter((sighting) => sighting.id === id && sighting.at >= from);
  if (shows === 'appears') return own.find(({ places }) => places.has(place))?.at;
  const last = own.findLastIndex(({ places }) => places.has(place));
  return last === -1 && shows === 'expires' ? undefined : own[last + 1]?.at;
}

function placeOf({ host, port }: LoadInstance): string {
  return `${host}:${port}`;
}

/** The accepted PUTs with the nodes that they wrote. */
export function writesIn(requests: readonly RecordedRequest[]): readonly Sighting[] {
  return requests.flatMap(({ method, path, status = 500, body = '', answeredAt }) => {
    const id = /\/upstreams\/([^/?]+)/.exec(path)?.[1];
    if (method !== 'PUT' || id === undefined || status >= 300 || answeredAt === undefined) return [];
    const { nodes } = JSON.parse(body) as { readonly nodes: readonly LoadInstance[] };
    return [{ id, at: answeredAt, places: new Set(nodes.map(placeOf)) }];
  });
}
