import { describe, expect, it } from 'vitest';
import { RemovalGuardState } from '../../../src/engine/removal-guard-state.ts';
import type { UpstreamNode } from '../../../src/model/upstream.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const node = (last: number): UpstreamNode => ({ host: `10.0.0.${last}`, port: 80, weight: 1, priority: 0 });

const lost = (...list: readonly UpstreamNode[]) => list.map((one) => ({ node: one, backend: 0 }));
const lostPlaces = (memory: RemovalGuardState) => memory.recall()?.lost.map(({ place }) => place);
const held = (since: number | undefined, begun = {}) =>
  since === undefined ? [] : [{ node: node(1), since, begun, lastingUnit: 7 }];
const sinceIn = (memory: RemovalGuardState) => memory.recall()?.kept(node(1))?.since;

function start() {
  const clock = createFakeClock();
  const memory = new RemovalGuardState(clock);
  memory.read(['a'], [node(1)]);
  return { clock, memory };
}

describe('RemovalGuardState', () => {
  it('remembers nothing before the first read', () => {
    const memory = new RemovalGuardState(createFakeClock());
    memory.wrote([node(1)], []);
    memory.guard(held(5));
    expect(memory.recall()).toBeUndefined();
  });

  it('attributes the nodes of the first read, then those of the last write, to the operator', () => {
    const { memory } = start();
    expect(memory.recall()?.put(node(1))).toBe(true);
    memory.read(['a'], [node(1), node(2)]);
    expect(memory.recall()?.put(node(2))).toBe(false);
    memory.wrote([node(2)], []);
    expect(memory.recall()?.put(node(1))).toBe(false);
    expect(memory.recall()?.put(node(2))).toBe(true);
  });

  it('is settling after a change of the basis until the gateway matches it and a minute has passed', async () => {
    const { clock, memory } = start();
    expect(memory.recall()?.isSettling).toBe(false);
    await clock.advance(1000);
    memory.read(['b'], []);
    expect(memory.recall()).toMatchObject({ basis: ['b'], isSettling: true });
    await clock.advance(120_000);
    expect(memory.recall()?.isSettling).toBe(true);
    memory.wrote([], []);
    expect(memory.recall()?.isSettling).toBe(false);
    memory.read(['c'], []);
    memory.wrote([], []);
    expect(memory.recall()?.isSettling).toBe(true);
    await clock.advance(60_000);
    expect(memory.recall()?.isSettling).toBe(false);
  });

  it('is changing after a change of the basis until the gateway matches it, also without a write', async () => {
    const { clock, memory } = start();
    expect(memory.recall()?.isChanging).toBe(false);
    await clock.advance(1000);
    memory.read(['b'], []);
    expect(memory.recall()?.isChanging).toBe(true);
    memory.wrote([], []);
    expect(memory.recall()?.isChanging).toBe(false);
    await clock.advance(1000);
    memory.read(['c'], []);
    memory.matched();
    expect(memory.recall()).toMatchObject({ isChanging: false, isSettling: true });
    await clock.advance(60_000);
    expect(memory.recall()?.isSettling).toBe(false);
  });

  it('remembers lost nodes for a minute or until they are written again', async () => {
    const { clock, memory } = start();
    memory.wrote([], lost(node(1), node(2)));
    expect(lostPlaces(memory)).toEqual(['10.0.0.1 80', '10.0.0.2 80']);
    memory.wrote([node(1)], []);
    expect(lostPlaces(memory)).toEqual(['10.0.0.2 80']);
    await clock.advance(60_001);
    expect(lostPlaces(memory)).toEqual([]);
  });

  it('counts a new node as the replacement of an earlier loss, but not of a later one', () => {
    const { memory } = start();
    memory.wrote([node(2), node(3)], lost(node(1)));
    expect(lostPlaces(memory)).toEqual([]);
    memory.wrote([node(2)], lost(node(3)));
    expect(lostPlaces(memory)).toEqual(['10.0.0.3 80']);
    memory.wrote([node(2)], []);
    expect(lostPlaces(memory)).toEqual(['10.0.0.3 80']);
    for (let last = 4; last <= 9; last += 1) {
      memory.wrote([node(last)], lost(node(last === 4 ? 2 : last - 1)));
      expect(lostPlaces(memory)).toHaveLength(1);
    }
  });

  it('remembers since when nodes are guarded', () => {
    const { memory } = start();
    memory.guard(held(5));
    expect(sinceIn(memory)).toBe(5);
    memory.guard(held(undefined));
    expect(sinceIn(memory)).toBeUndefined();
  });

  it.each([-86_400_000, 86_400_000])(
    'counts the elapsed guard time when the wall clock is set by %d ms',
    async (jump) => {
      const { clock, memory } = start();
      const refresh = () => memory.guard(held(sinceIn(memory)));
      memory.guard(held(clock.now()));
      await clock.advance(10_000);
      clock.setWall(clock.now() + jump);
      expect(sinceIn(memory)).toBe(clock.now() - 10_000);
      refresh();
      await clock.advance(20_000);
      expect(sinceIn(memory)).toBe(clock.now() - 30_000);
    },
  );

  it('reports the same start of guarding while the wall clock only drifts', async () => {
    const { clock, memory } = start();
    const since = clock.now();
    memory.guard(held(since));
    for (let second = 0; second < 10; second += 1) {
      await clock.advance(1000);
      clock.setWall(clock.now() + 100);
      expect(sinceIn(memory)).toBe(since);
      memory.guard(held(since));
    }
  });

  it('remembers the unit of a kept node, and when each reason began', async () => {
    const { clock, memory } = start();
    memory.guard(held(5, { sick: clock.now() - 1000, vanished: Number.POSITIVE_INFINITY }));
    await clock.advance(2000);
    clock.setWall(clock.now() + 86_400_000);
    expect(memory.recall()?.kept(node(1))).toMatchObject({
      lastingUnit: 7,
      begun: { sick: clock.now() - 3000, vanished: Number.POSITIVE_INFINITY },
    });
  });

  it('continues the guarding of an earlier process, even after the clock was set', async () => {
    const { clock, memory } = start();
    memory.guard(held(clock.now() - 20_000));
    clock.setWall(clock.now() - 86_400_000);
    await clock.advance(5000);
    expect(sinceIn(memory)).toBe(clock.now() - 25_000);
  });
});
