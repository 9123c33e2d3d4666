import { setTimeout as sleep } from 'node:timers/promises';
import type { Write } from './ledger.ts';
import type { Scene, Subject } from './scene.ts';

/** An API server that cannot keep up must not be buried under what waits for it. */
const MOST_UNDER_WAY = 64;

/** One address of one slice that was replaced by one that was never used before. */
export interface Change {
  readonly subject: Subject;
  readonly address: string;
  /** The API server's answer, on the monotonic clock; undefined where it refused at first and was asked again. */
  answeredAt: number | undefined;
}

/** The changes of the operator's slices, and those of slices that only the floor writes. */
export interface Changes {
  readonly operator: readonly Change[];
  readonly floor: readonly Change[];
}

/**
 * Changes one address at a time, `rate` times a second, each time of another Service, while `goesOn` of the number of
 * changes so far; and as often, between those, a slice that only the floor watches for, so that whatever else happens on
 * the machine happens to both.
 */
export async function makeChanges(
  scene: Scene,
  rate: number,
  goesOn: (changes: number) => boolean,
): Promise<Changes> {
  const { subjects, floorSubjects } = scene;
  const [mine, floors]: [Change[], Change[]] = [[], []];
  const failures: unknown[] = [];
  const underWay = new Set<Promise<void>>();
  const began = performance.now();
  for (let index = 0; goesOn(index >> 1); index += 1) {
    await sleep(Math.max(0, began + (index * 500) / rate - performance.now()));
    while (underWay.size >= MOST_UNDER_WAY) await Promise.race(underWay);
    const [made, among] = index % 2 === 0 ? [mine, subjects] : [floors, floorSubjects];
    const nth = index >> 1;
    const subject = among[nth % among.length];
    if (subject === undefined) break;
    const address = scene.freshAddress();
    subject.addresses[Math.floor(nth / among.length) % subject.addresses.length] = address;
    const change: Change = { subject, address, answeredAt: undefined };
    made.push(change);
    const writing = scene
      .writeAddresses(subject, among === floorSubjects ? address : undefined)
      .then(({ at, tries }) => {
        if (tries === 1) change.answeredAt = at;
      })
      .catch((error: unknown) => {
        failures.push(error);
      })
      .finally(() => underWay.delete(writing));
    underWay.add(writing);
  }
  await Promise.all(underWay);
  if (failures.length > 0) throw new AggregateError(failures, 'the load could not be made');
  return { operator: mine, floor: floors };
}

export function describeChange({ subject, address }: Change): string {
  return `${address} of ${subject.id}`;
}

/** The changes that the gateway never had. */
export function missingOf(changes: readonly Change[], writes: readonly Write[]): readonly Change[] {
  const seen = firstSeen(writes);
  return changes.filter(({ subject, address }) => !seen.has(`${subject.id} ${address}`));
}

/** Milliseconds from the API server's answer to the gateway's having the new nodes, where both are known. */
export function latenciesOf(
  changes: readonly Change[],
  writes: readonly Write[],
): readonly { readonly change: Change; readonly ms: number }[] {
  const seen = firstSeen(writes);
  return changes.flatMap((change) => {
    const at = seen.get(`${change.subject.id} ${change.address}`);
    if (at === undefined || change.answeredAt === undefined) return [];
    return [{ change, ms: at - change.answeredAt }];
  });
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
