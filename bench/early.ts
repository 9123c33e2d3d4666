import { monotonicMs } from '../test/support/monotonic.ts';
import type { Operator } from '../test/support/operator.ts';
import { type Change, type Changes, describeChange, latenciesOf, makeChanges, missingOf } from './changes.ts';
import type { Ledger, Write } from './ledger.ts';
import { quantiles } from './measure.ts';
import type { Early, EarlyPhases } from './results.ts';
import { type Scene, working } from './scene.ts';

/** The duration of changes after the first write of the last upstream. */
const AFTER_MS = 20_000;
const LOOK_MS = 200;

/**
 * Measures endpoint changes during the first programming: the operator has just started, the gateway is empty, and the
 * operator writes every upstream, finalizer and status for the first time.
 */
export async function measureEarly(
  scene: Scene,
  ledger: Ledger,
  rate: number,
): Promise<{ readonly operator: Operator; readonly early: Early }> {
  const { gateway } = scene;
  await scene.floor.ask('watch');
  ledger.enter(await gateway.ask('take'));
  const began = monotonicMs();
  const operator = await scene.operator();
  // An earlier change is part of the operator's first list, which has no priority.
  await Promise.all([working(operator), operator.ready()]);
  const made = await changesWhileProgramming(scene, rate);
  await scene.settled(operator);
  const { writes, needless, overlapping } = ledger.enter(await gateway.ask('take'));
  const lostToFloor = missingOf(made.floor, writes);
  if (lostToFloor.length > 0) throw new Error(`the floor lost ${lostToFloor.length} changes`);
  const firstWrites = firstWritesOf(writes);
  const programmedAt = Math.max(...firstWrites.values());
  const phaseOf = ({ subject, answeredAt = 0 }: Change): keyof EarlyPhases => {
    if (answeredAt > programmedAt) return 'after';
    return answeredAt > (firstWrites.get(subject.id) ?? 0) ? 'during' : 'unwritten';
  };
  return {
    operator,
    early: {
      rate,
      programmedSeconds: (programmedAt - began) / 1000,
      phases: phasesOf(made, writes, phaseOf),
      lost: missingOf(made.operator, writes).map(describeChange),
      needless,
      overlapping,
      // A first write may contain a change, so there can be fewer writes than changes.
      surplus: 0,
      apiRequests: await scene.apiRequests.take(),
    },
  };
}

/** Makes changes until every upstream is written, and for `AFTER_MS` after that. */
async function changesWhileProgramming(scene: Scene, rate: number): Promise<Changes> {
  const { subjects, gateway } = scene;
  let endAt = performance.now() + 60_000 + subjects.length * 50;
  using stop = new DisposableStack();
  const looking = setInterval(async () => {
    // Ask for a count only, because copying all requests would block the gateway.
    if ((await gateway.ask('upstreams')) < subjects.length) return;
    clearInterval(looking);
    endAt = Math.min(endAt, performance.now() + AFTER_MS);
  }, LOOK_MS);
  stop.defer(() => clearInterval(looking));
  return await makeChanges(scene, rate, () => performance.now() < endAt);
}

function phasesOf(
  { operator, floor }: Changes,
  writes: readonly Write[],
  phaseOf: (change: Change) => keyof EarlyPhases,
): EarlyPhases {
  const msOf = (changes: readonly Change[], phase: keyof EarlyPhases) =>
    latenciesOf(
      changes.filter((change) => phaseOf(change) === phase),
      writes,
    ).map(({ ms }) => ms);
  const phase = (name: keyof EarlyPhases) => {
    const mine = msOf(operator, name);
    // The floor has no first writes, so its changes of the whole phase are the comparison.
    const floors = msOf(floor, name === 'unwritten' ? 'during' : name);
    if (mine.length === 0 || floors.length === 0) return {};
    return { [name]: { changes: mine.length, operator: quantiles(mine), floor: quantiles(floors) } };
  };
  return { ...phase('during'), ...phase('unwritten'), ...phase('after') };
}

/** The time of the first write of each upstream. */
function firstWritesOf(writes: readonly Write[]): ReadonlyMap<string, number> {
  const first = new Map<string, number>();
  for (const { id, at } of writes) {
    if (!id.startsWith('floor-') && !first.has(id)) first.set(id, at);
  }
  return first;
}
