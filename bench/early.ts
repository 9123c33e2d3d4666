import { monotonicMs } from '../test/support/monotonic.ts';
import type { Operator } from '../test/support/operator.ts';
import { type Change, type Changes, describeChange, latenciesOf, makeChanges, missingOf } from './changes.ts';
import type { Ledger, Write } from './ledger.ts';
import { quantiles } from './measure.ts';
import type { Early, EarlyPhases } from './results.ts';
import { type Scene, working } from './scene.ts';

/** How long changes go on after the last upstream was written for the first time. */
const AFTER_MS = 20_000;
const LOOK_MS = 200;

/**
 * How long it takes until a change of endpoints is in the gateway while the program still has its own work to do: it has
 * just started before a gateway that has nothing, and writes every upstream, finalizer and status for the first time.
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
  // Until then a change is part of what it lists, and no more urgent than anything else of that.
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
      // A first write may hold a change, so that there are fewer.
      surplus: 0,
      apiRequests: await scene.apiRequests.take(),
    },
  };
}

/** Makes changes until every upstream was written, and for a while after that. */
async function changesWhileProgramming(scene: Scene, rate: number): Promise<Changes> {
  const { subjects, gateway } = scene;
  let endAt = performance.now() + 60_000 + subjects.length * 50;
  using stop = new DisposableStack();
  const looking = setInterval(async () => {
    // A count, not the requests: copying those would keep the gateway from answering.
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
    // Of the floor's nothing has to be written first: what is new is compared with all of that time.
    const floors = msOf(floor, name === 'unwritten' ? 'during' : name);
    if (mine.length === 0 || floors.length === 0) return {};
    return { [name]: { changes: mine.length, operator: quantiles(mine), floor: quantiles(floors) } };
  };
  return { ...phase('during'), ...phase('unwritten'), ...phase('after') };
}

/** When each of the upstreams was written for the first time. */
function firstWritesOf(writes: readonly Write[]): ReadonlyMap<string, number> {
  const first = new Map<string, number>();
  for (const { id, at } of writes) {
    if (!id.startsWith('floor-') && !first.has(id)) first.set(id, at);
  }
  return first;
}
