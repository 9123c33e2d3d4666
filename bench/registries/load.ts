import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../../test/support/monotonic.ts';
import type { Operator } from '../../test/support/operator.ts';
import { cpuSeconds, residentMiB } from '../measure.ts';
import { settled } from '../scene.ts';
import { writesIn } from './latency.ts';
import type { Load, Traffic } from './results.ts';
import { INSTANCES, type RegistryScene } from './scene.ts';

/** The operator answers and parses all the time while services take turns. */
const QUIET_CPU_SECONDS = 0.15;
/** Longer than the longest back-off. */
const RECOVERED_SECONDS = 20;

/** Starts the operator with an empty gateway, and waits until it has written everything. */
export async function measureFirst(
  scene: RegistryScene,
): Promise<{ readonly operator: Operator } & Pick<Load, 'programmedSeconds' | 'wrong'>> {
  const { subjects, gateway } = scene;
  await gateway.ask('take');
  const began = monotonicMs();
  const operator = await scene.operator();
  const first = await scene.requestsUntil(
    (written) => written >= subjects.length,
    60_000 + subjects.length * 100,
  );
  await settled(operator, QUIET_CPU_SECONDS);
  const writes = writesIn([...first, ...(await gateway.ask('take'))]);
  const last = new Map(writes.map(({ id, places }) => [id, places]));
  const firstWrites = new Map(writes.toReversed().map(({ id, at }) => [id, at]));
  return {
    operator,
    programmedSeconds: (Math.max(...firstWrites.values()) - began) / 1000,
    wrong: subjects.flatMap(({ id, instances }) => {
      const places = last.get(id);
      const isRight =
        places?.size === instances.length &&
        instances.every(({ host, port }) => places.has(`${host}:${port}`));
      return isRight ? [] : [id];
    }),
  };
}

/** Measures the requests to the registry while nothing changes, after a reconnect, and around an outage. */
export async function measureLoad(
  scene: RegistryScene,
  first: Awaited<ReturnType<typeof measureFirst>>,
  seconds: number,
): Promise<Load> {
  const { subjects, proxy } = scene;
  const { operator, programmedSeconds, wrong } = first;
  const { pid = 0 } = operator.process;
  await scene.gateway.ask('take');
  const cpuBefore = cpuSeconds(pid);
  const idle = await trafficOver(scene, seconds);
  const cpuPercent = ((cpuSeconds(pid) - cpuBefore) / idle.seconds) * 100;
  const { now: rssMiB } = residentMiB(pid);
  await proxy.ask('cut');
  const reconnect = await trafficOver(scene, seconds);
  await proxy.ask('fail', 'closes every connection');
  const outage = await trafficOver(scene, seconds);
  await proxy.ask('repair');
  const recovery = await trafficOver(scene, Math.max(seconds, RECOVERED_SECONDS));
  return {
    services: subjects.length,
    instances: INSTANCES,
    programmedSeconds,
    wrong,
    rssMiB,
    idle: { ...idle, cpuPercent },
    reconnect,
    outage,
    recovery,
  };
}

async function trafficOver({ proxy, gateway }: RegistryScene, seconds: number): Promise<Traffic> {
  const before = await proxy.ask('requests');
  const began = performance.now();
  await sleep(seconds * 1000);
  const requests = (await proxy.ask('requests')) - before;
  const writes = writesIn(await gateway.ask('take')).length;
  return { seconds: (performance.now() - began) / 1000, requests, writes };
}
