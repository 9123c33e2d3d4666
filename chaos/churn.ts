import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ControlPlane } from '../test/support/control-plane/control-plane.ts';
import { awaitCheckpoint } from './checkpoint.ts';
import type { Health, Service } from './places.ts';
import { createRandom } from './random.ts';
import type { Footprint, Replica } from './replica.ts';
import { makeService, writeSlice } from './services.ts';
import { Site } from './site.ts';
import { makeUpstream } from './upstreams.ts';

export interface ChurnOptions {
  readonly cluster: ControlPlane;
  readonly minutes: number;
  /** Changes per second. */
  readonly rate: number;
  /** Called with a progress line each minute. */
  readonly report: (line: string) => void;
}

/** Counts that show a leak independently of the garbage collector. */
interface Counts {
  readonly sockets: number;
  readonly timers: number;
}

/** The resources of one replica at one moment. */
interface Sample extends Footprint, Counts {
  /** Monotonic, milliseconds. */
  readonly at: number;
}

/** The result of one check, as text. */
export interface Check {
  readonly line: string;
  readonly holds: boolean;
}

/** The built program, as in the image. */
const BUILT = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const UPSTREAMS = 100;
const SAMPLE_EVERY_MS = 5000;
const MINUTE_MS = 60_000;
/** During warm-up, V8 compiles code and pools fill. */
const WARM_UP_MS = 5 * MINUTE_MS;
/** Longer than the keep-alive of idle connections (45 s). */
const CALM_SAMPLES = 60;
const CALM_PAUSE_MS = 1000;
/** The allowed growth after the warm-up. */
const RSS_GROWTH = 0.05;

/**
 * Makes changes at a steady rate, without faults. Compares the memory of the minute after the warm-up with that of the last minute.
 * Sockets and timers are counted while the operators are idle, and must not increase.
 */
export async function churn({ cluster, minutes, rate, report }: ChurnOptions): Promise<readonly Check[]> {
  const random = createRandom(1);
  await using site = await Site.open({
    cluster,
    name: 'churn',
    note: () => undefined,
    // All other settings have their defaults, as in an installation.
    settings: { logLevel: 'info', program: { main: BUILT, nodeArgs: [] } },
    leaseDurationMs: 15_000,
  });
  await site.makeNamespace('churn-apps');
  const services: Service[] = [];
  for (let index = 0; index < UPSTREAMS; index += 1) {
    const name = `s${index}`;
    const slices = [{ [site.model.newAddress()]: 'ready' }] as const;
    services.push(
      await makeService(site, 'churn-apps', name, {
        slices,
        shape: 'Headless',
        exposed: false,
        isLocal: false,
      }),
    );
    await makeUpstream(site, {
      namespace: 'churn-apps',
      name,
      backends: [{ service: name, weight: 1 }],
      guarded: false,
      syncPolicy: 'Sync',
      deletionPolicy: 'Delete',
    });
  }
  const problems = [...(await awaitCheckpoint(site, { allowGuarded: false }))];
  let startedAt = performance.now();
  const samples = new Map<Replica, Sample[]>(site.replicas.map((replica) => [replica, []]));
  const sample = async () => {
    for (const [replica, list] of samples) list.push(await sampleOf(replica));
  };

  let endsAt = startedAt + minutes * MINUTE_MS;
  let changes = 0;
  let sampledAt = startedAt;
  let reported = 0;
  let warm: ReadonlyMap<Replica, Counts> | undefined;
  while (performance.now() < endsAt) {
    const service = random.pick(services);
    const [slice = ''] = service.slices.keys();
    // A rolling update of one Pod at a time: the new Pod is ready before the old one terminates.
    const ready = Object.entries(service.slices.get(slice) ?? {}).filter(([, health]) => health === 'ready');
    const [oldest] = ready;
    const next: [string, Health][] = [...ready, [site.model.newAddress(), 'ready']];
    if (oldest !== undefined && ready.length >= 3) next[0] = [oldest[0], 'draining'];
    await writeSlice(site, service, slice, Object.fromEntries(next));
    changes += 1;
    const now = performance.now();
    if (now - sampledAt >= SAMPLE_EVERY_MS) {
      sampledAt = now;
      site.gateway.clearRequests();
      site.judge.check();
      await sample();
      const minute = Math.floor((now - startedAt) / MINUTE_MS);
      if (minute > reported) {
        reported = minute;
        const rss = [...samples.values()].map((list) => mib(list.at(-1)?.rss ?? 0));
        report(`${minute} of ${minutes} min, ${changes} changes, RSS ${rss.join(' and ')} MiB`);
      }
    }
    if (warm === undefined && now - startedAt >= warmUpMs(minutes)) {
      problems.push(...(await awaitCheckpoint(site, { allowGuarded: false })));
      warm = await calm(site);
      // Extend the run by the pause, so the rate stays the same.
      const pause = performance.now() - now;
      startedAt += pause;
      endsAt += pause;
    }
    const early = startedAt + (changes * 1000) / rate - performance.now();
    if (early > 0) await sleep(early);
  }
  problems.push(...(await awaitCheckpoint(site, { allowGuarded: false })));
  const last = await calm(site);
  site.judge.check();

  return [
    {
      line: `${changes} changes and ${site.judge.writes.put} PUT in ${minutes} min; all upstreams are correct at the end`,
      holds: problems.length === 0,
    },
    ...problems.map((line) => ({ line, holds: false })),
    { line: 'all other invariants held', holds: site.judge.violations.length === 0 },
    ...site.judge.violations.map((line) => ({ line, holds: false })),
    ...site.replicas.flatMap((replica) =>
      compare(replica.name, samples.get(replica) ?? [], warm?.get(replica), last.get(replica)),
    ),
  ];
}

/** The lowest counts of several samples while the operators are idle. */
async function calm(site: Site): Promise<ReadonlyMap<Replica, Counts>> {
  const found = new Map<Replica, Counts>();
  for (let look = 0; look < CALM_SAMPLES; look += 1) {
    await sleep(CALM_PAUSE_MS);
    for (const replica of site.replicas) {
      const { sockets, timers } = await sampleOf(replica);
      const least = found.get(replica) ?? { sockets, timers };
      found.set(replica, {
        sockets: Math.min(least.sockets, sockets),
        timers: Math.min(least.timers, timers),
      });
    }
  }
  return found;
}

async function sampleOf(replica: Replica): Promise<Sample> {
  const footprint = replica.footprint();
  if (footprint === undefined) throw new Error(`replica ${replica.name} is not running`);
  const timers = (await replica.resources()).get('Timeout') ?? 0;
  return { ...footprint, timers, at: performance.now() };
}

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}

function compare(
  name: string,
  samples: readonly Sample[],
  warm: Counts | undefined,
  last: Counts | undefined,
): readonly Check[] {
  if (warm === undefined || last === undefined) return [{ line: `${name} was not measured`, holds: false }];
  const begin = samples[0]?.at ?? 0;
  const end = samples.at(-1)?.at ?? 0;
  const warmUp = warmUpMs((end - begin) / MINUTE_MS);
  const before = median(samples.filter(({ at }) => at >= begin + warmUp && at < begin + warmUp + MINUTE_MS));
  const after = median(samples.filter(({ at }) => at > end - MINUTE_MS));
  const growth = after / before - 1;
  return [
    {
      line: `${name}: RSS ${mib(before)} MiB after the warm-up, ${mib(after)} MiB at the end (${(growth * 100).toFixed(1)} %)`,
      holds: growth < RSS_GROWTH,
    },
    {
      line: `${name}: ${warm.sockets} open sockets after the warm-up, ${last.sockets} at the end`,
      holds: last.sockets <= warm.sockets,
    },
    {
      line: `${name}: ${warm.timers} timers after the warm-up, ${last.timers} at the end`,
      holds: last.timers <= warm.timers,
    },
  ];
}

function warmUpMs(minutes: number): number {
  return Math.min(WARM_UP_MS, (minutes * MINUTE_MS) / 6);
}

/** The median RSS. */
function median(samples: readonly Sample[]): number {
  const sorted = samples.map(({ rss }) => rss).sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
