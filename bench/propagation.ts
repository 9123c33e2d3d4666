import { setTimeout as sleep } from 'node:timers/promises';
import type { Operator } from '../test/support/operator.ts';
import type { Ledger, Write } from './ledger.ts';
import { cpuSeconds, quantiles } from './measure.ts';
import type { Propagation } from './results.ts';
import type { Scene, Subject } from './scene.ts';

const LATE_MS = 1000;
/** A change that was not seen this long after the last one is lost. */
const LOST_MS = 20_000;

interface Change {
  readonly subject: Subject;
  readonly address: string;
  /** The API server's answer, on the monotonic clock; undefined where it refused at first and was asked again. */
  answeredAt: number | undefined;
}

/**
 * Changes one address at a time, `rate` times a second, each time of another Service; and as often, between those, a
 * slice that only the floor watches for, so that whatever else happens on the machine happens to both.
 */
export async function measurePropagation(
  scene: Scene,
  operator: Operator,
  ledger: Ledger,
  { rate, changes }: { readonly rate: number; readonly changes: number },
): Promise<Propagation> {
  const { subjects, floorSubjects, gateway } = scene;
  const [operatorPid, floorPid] = [operator.process.pid ?? 0, scene.floor.process.pid ?? 0];
  ledger.enter(await gateway.ask('take'));
  await scene.apiRequests.take();
  const cpuBefore = [cpuSeconds(operatorPid), cpuSeconds(floorPid)] as const;
  const [mine, floors]: [Change[], Change[]] = [[], []];
  const failures: unknown[] = [];
  const underWay: Promise<void>[] = [];
  const began = performance.now();
  for (let index = 0; index < changes * 2; index += 1) {
    await sleep(Math.max(0, began + (index * 500) / rate - performance.now()));
    const [made, among] = index % 2 === 0 ? [mine, subjects] : [floors, floorSubjects];
    const nth = index >> 1;
    const subject = among[nth % among.length];
    if (subject === undefined) break;
    const address = scene.freshAddress();
    subject.addresses[Math.floor(nth / among.length) % subject.addresses.length] = address;
    const change: Change = { subject, address, answeredAt: undefined };
    made.push(change);
    underWay.push(
      scene.writeAddresses(subject, among === floorSubjects ? address : undefined).then(
        ({ at, tries }) => {
          if (tries === 1) change.answeredAt = at;
        },
        (error: unknown) => {
          failures.push(error);
        },
      ),
    );
  }
  await Promise.all(underWay);
  if (failures.length > 0) throw new AggregateError(failures, 'the load could not be made');

  const records = [...(await scene.requestsUntil((writes) => writes >= changes * 2, 2000))];
  let entries = ledger.enter(records);
  const writes = [...entries.writes];
  let { needless, overlapping } = entries;
  const gatewayRequests = { ...entries.requests };
  const until = performance.now() + LOST_MS;
  while (missing(mine, writes).length + missing(floors, writes).length > 0 && performance.now() < until) {
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
  const lostToFloor = missing(floors, writes);
  if (lostToFloor.length > 0) throw new Error(`the floor lost ${lostToFloor.length} changes`);
  const lost = missing(mine, writes);
  const latencies = latenciesOf(mine, writes);
  const own = writes.filter(({ id }) => !id.startsWith('floor-')).length;
  return {
    rate,
    changes,
    operator: quantiles(latencies.map(({ ms }) => ms)),
    floor: quantiles(latenciesOf(floors, writes).map(({ ms }) => ms)),
    refusedAtFirst: mine.filter(({ answeredAt }) => answeredAt === undefined).length,
    lost: lost.map(describe),
    late: latencies
      .filter(({ ms }) => ms > LATE_MS)
      .map(({ change, ms }) => `${describe(change)} after ${Math.round(ms)} ms`),
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

function describe({ subject, address }: Change): string {
  return `${address} of ${subject.id}`;
}

/** When each address of each id was first in the gateway. */
function firstSeen(writes: readonly Write[]): ReadonlyMap<string, number> {
  const seen = new Map<string, number>();
  for (const { id, hosts, at } of writes) {
    for (const host of hosts) {
      const key = `${id} ${host}`;
      if (!seen.has(key)) seen.set(key, at);
    }
  }
  return seen;
}

function missing(changes: readonly Change[], writes: readonly Write[]): readonly Change[] {
  const seen = firstSeen(writes);
  return changes.filter(({ subject, address }) => !seen.has(`${subject.id} ${address}`));
}

function latenciesOf(changes: readonly Change[], writes: readonly Write[]) {
  const seen = firstSeen(writes);
  return changes.flatMap((change) => {
    const at = seen.get(`${change.subject.id} ${change.address}`);
    if (at === undefined || change.answeredAt === undefined) return [];
    return [{ change, ms: at - change.answeredAt }];
  });
}
