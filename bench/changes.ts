import { setTimeout as sleep } from 'node:timers/promises';
import type { Write } from './ledger.ts';
import type { Scene, Subject } from './scene.ts';

/** Limits the pending requests if the API server cannot keep up. */
const MOST_UNDER_WAY = 64;

/** A change that replaced one address of one slice by a new address. */
export interface Change {
  readonly subject: Subject;
  readonly address: string;
  /** The time of the API server's response on the monotonic clock; undefined if the request was retried. */
  answeredAt: number | undefined;
}

/** The changes of slices for the operator, and of slices for the floor. */
export interface Changes {
  readonly operator: readonly Change[];
  readonly floor: readonly Change[];
}

/**
 * Changes one address at a time, `rate` times a second, each time of another Service, while `goesOn` accepts the number of
 * changes so far. Changes a slice for the floor equally often in between, so that other load on the machine affects both.
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
  if (failures.length > 0) throw new AggregateError(failures, 'some changes failed');
  return { operator: mine, floor: floors };
}

export function describeChange({ subject, address }: Change): string {
  return `${address} of ${subject.id}`;
}

/** The changes that never reached the gateway. */
export function missingOf(changes: readonly Change[], writes: readonly Write[]): readonly Change[] {
  const seen = firstSeen(writes);
  return changes.filter(({ subject, address }) => !seen.has(`${subject.id} ${address}`));
}

/** The milliseconds from the API server's response until the gateway has the new nodes, if both times are known. */
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

/** The time when the gateway first had each address of each id. */
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
