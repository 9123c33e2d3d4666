import { setTimeout as sleep } from 'node:timers/promises';
import type { Operator } from '../test/support/operator.ts';
import { describeChange, latenciesOf, makeChanges, missingOf } from './changes.ts';
import type { Ledger } from './ledger.ts';
import { cpuSeconds, quantiles } from './measure.ts';
import type { Propagation } from './results.ts';
import type { Scene } from './scene.ts';

const LATE_MS = 1000;
/** A change that has not reached the gateway this long after the last change is lost. */
const LOST_MS = 20_000;

/** Measures the time until an endpoint change is in the gateway, without other work. */
export async function measurePropagation(
  scene: Scene,
  operator: Operator,
  ledger: Ledger,
  { rate, changes }: { readonly rate: number; readonly changes: number },
): Promise<Propagation> {
  const { gateway } = scene;
  const [operatorPid, floorPid] = [operator.process.pid ?? 0, scene.floor.process.pid ?? 0];
  ledger.enter(await gateway.ask('take'));
  await scene.apiRequests.take();
  const cpuBefore = [cpuSeconds(operatorPid), cpuSeconds(floorPid)] as const;
  const made = await makeChanges(scene, rate, (count) => count < changes);

  const records = [...(await scene.requestsUntil((writes) => writes >= changes * 2, 2000))];
  let entries = ledger.enter(records);
  const writes = [...entries.writes];
  let { needless, overlapping } = entries;
  const gatewayRequests = { ...entries.requests };
  const until = performance.now() + LOST_MS;
  while (
    missingOf(made.operator, writes).length + missingOf(made.floor, writes).length > 0 &&
    performance.now() < until
  ) {
    await sleep(200);
    entries = ledger.enter(await gateway.ask('take'));
    writes.push(...entries.writes);
    needless += entries.needless;
    overlapping += entries.overlapping;
    for (const [kind, count] of Object.entries(entries.requests)) {
      gatewayRequests[kind] = (gatewayRequests[kind] ?? 0) + count;
    }
  }
  await scene.settled(operator);
  const cpu = [cpuSeconds(operatorPid) - cpuBefore[0], cpuSeconds(floorPid) - cpuBefore[1]] as const;
  const lostToFloor = missingOf(made.floor, writes);
  if (lostToFloor.length > 0) throw new Error(`the floor lost ${lostToFloor.length} changes`);
  const lost = missingOf(made.operator, writes);
  const latencies = latenciesOf(made.operator, writes);
  const own = writes.filter(({ id }) => !id.startsWith('floor-')).length;
  return {
    rate,
    changes,
    operator: quantiles(latencies.map(({ ms }) => ms)),
    floor: quantiles(latenciesOf(made.floor, writes).map(({ ms }) => ms)),
    refusedAtFirst: made.operator.filter(({ answeredAt }) => answeredAt === undefined).length,
    lost: lost.map(describeChange),
    late: latencies
      .filter(({ ms }) => ms > LATE_MS)
      .map(({ change, ms }) => `${describeChange(change)} after ${Math.round(ms)} ms`),
    writes: own,
    surplus: Math.max(0, own - changes),
    needless,
    overlapping,
    operatorCpuMs: (cpu[0] * 1000) / changes,
    floorCpuMs: (cpu[1] * 1000) / changes,
    apiRequests: await scene.apiRequests.take(),
    gatewayRequests,
  };
}
