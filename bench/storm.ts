import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../test/support/monotonic.ts';
import type { Operator } from '../test/support/operator.ts';
import type { Ledger, Write } from './ledger.ts';
import { eachOf } from './measure.ts';
import type { Rollout, Storm } from './results.ts';
import { ENDPOINTS, type Scene, type SliceEndpoint, type Subject } from './scene.ts';

const STORM_SERVICES = 500;
const STORM_WRITERS = 32;
const ROLLOUT_ENDPOINTS = 250;
/** The default maximum of the EndpointSlice controller. */
const SLICE_ENDPOINTS = 100;
const ROLLOUT_STEP = 10;
const ROLLOUT_CHANGES_PER_SECOND = 20;

/** Replaces all endpoints of at most 500 Services at once. */
export async function measureStorm(scene: Scene, operator: Operator, ledger: Ledger): Promise<Storm> {
  const hit = scene.subjects.slice(0, STORM_SERVICES);
  ledger.enter(await scene.gateway.ask('take'));
  for (const { addresses } of hit) addresses.splice(0, ENDPOINTS, ...addresses.map(scene.freshAddress));
  const began = monotonicMs();
  let lastAnswer = began;
  await eachOf(hit, STORM_WRITERS, async (subject) => {
    lastAnswer = Math.max(lastAnswer, (await scene.writeAddresses(subject)).at);
  });
  const writes = await finalWrites(scene, operator, ledger);
  const perService = Map.groupBy(writes, ({ id }) => id);
  const right = hit.map((subject) => rightSince(subject, perService.get(subject.id) ?? []));
  const all = Math.max(...right.filter((at) => at !== undefined));
  return {
    services: hit.length,
    writes: writes.length,
    mostPerService: Math.max(...[...perService.values()].map(({ length }) => length)),
    lastMs: all - lastAnswer,
    totalMs: all - began,
    wrong: right.filter((at) => at === undefined).length,
  };
}

/** A rolling update of ten Pods at a time: new Pods become ready and old ones terminate, then the old ones disappear. */
export async function measureRollout(scene: Scene, operator: Operator, ledger: Ledger): Promise<Rollout> {
  const subject = await scene.add('rollout');
  const parts = Array.from({ length: Math.ceil(ROLLOUT_ENDPOINTS / SLICE_ENDPOINTS) }, (_, part) =>
    Array.from(
      { length: Math.min(SLICE_ENDPOINTS, ROLLOUT_ENDPOINTS - part * SLICE_ENDPOINTS) },
      (): SliceEndpoint => ({ address: scene.freshAddress() }),
    ),
  );
  for (const [index, part] of parts.entries()) {
    if (index === 0) await scene.writeSlice(subject, part);
    else await scene.createSlice(subject, part, index + 1);
  }
  await scene.settled(operator);
  ledger.enter(await scene.gateway.ask('take'));

  let changes = 0;
  let lastAnswer = 0;
  const write = async (part: readonly SliceEndpoint[], index: number): Promise<number> => {
    const { at } = await scene.writeSlice(subject, part, index + 1);
    changes += 1;
    await sleep(1000 / ROLLOUT_CHANGES_PER_SECOND);
    return at;
  };
  for (const [index, part] of parts.entries()) {
    for (let from = 0; from < part.length; from += ROLLOUT_STEP) {
      const old = part.slice(from, from + ROLLOUT_STEP);
      const fresh = old.map((): SliceEndpoint => ({ address: scene.freshAddress() }));
      part.splice(from, ROLLOUT_STEP, ...fresh);
      // A terminating endpoint is not a node, whether it is listed or not. Only this change needs a write.
      lastAnswer = await write(
        [...part, ...old.map(({ address }) => ({ address, terminating: true }))],
        index,
      );
      await write(part, index);
    }
  }
  subject.addresses.splice(0, subject.addresses.length, ...parts.flat().map(({ address }) => address));
  const writes = await finalWrites(scene, operator, ledger);
  const right = rightSince(subject, writes);
  return {
    endpoints: ROLLOUT_ENDPOINTS,
    changes,
    writes: writes.length,
    lastMs: (right ?? Number.NaN) - lastAnswer,
    wrong: right === undefined ? 1 : 0,
  };
}

async function finalWrites(scene: Scene, operator: Operator, ledger: Ledger): Promise<readonly Write[]> {
  await scene.settled(operator);
  return ledger.enter(await scene.gateway.ask('take')).writes;
}

/** The time from which the gateway has exactly the subject's addresses; undefined if its last content differs. */
function rightSince({ id, addresses }: Subject, writes: readonly Write[]): number | undefined {
  const own = writes.filter((write) => write.id === id);
  const isRight = ({ hosts }: Write) =>
    hosts.size === addresses.length && addresses.every((address) => hosts.has(address));
  const lastWrong = own.findLastIndex((write) => !isRight(write));
  return own[lastWrong + 1]?.at;
}
