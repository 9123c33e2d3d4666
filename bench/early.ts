import { monotonicMs } from '../test/support/monotonic.ts';
import type { Operator } from '../test/support/operator.ts';
import { type Change, type Changes, describeChange, latenciesOf, makeChanges, missingOf } from './changes.ts';
import type { Ledger, Write } from './ledger.ts';
import { quantiles } from './measure.ts';
import type { Early, EarlyWindow } from './results.ts';
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
  const programmedAt = lastFirstWrite(writes);
  const isDuring = ({ answeredAt = 0 }: Change) => answeredAt <= programmedAt;
  const during = windowOf(made, writes, isDuring);
  const after = windowOf(made, writes, (change) => !isDuring(change));
  return {
    operator,
    early: {
      rate,
      programmedSeconds: (programmedAt - began) / 1000,
      ...(during === undefined ? {} : { during }),
      ...(after === undefined ? {} : { after }),
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

function windowOf(
  { operator, floor }: Changes,
  writes: readonly Write[],
  isIn: (change: Change) => boolean,
): EarlyWindow | undefined {
  const msOf = (changes: readonly Change[]) => latenciesOf(changes.filter(isIn), writes).map(({ ms }) => ms);
  const [mine, floors] = [msOf(operator), msOf(floor)];
  if (mine.length === 0 || floors.length === 0) return undefined;
  return { changes: mine.length, operator: quantiles(mine), floor: quantiles(floors) };
}

/** When the last of the upstreams was written for the first time. */
function lastFirstWrite(writes: readonly Write[]): number {
  const first = new Map<string, number>();
  for (const { id, at } of writes) {
    if (!id.startsWith('floor-') && !first.has(id)) first.set(id, at);
  }
  return Math.max(...first.values());
}
