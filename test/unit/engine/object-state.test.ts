import { describe, expect, it } from 'vitest';
import { ObjectStates } from '../../../src/engine/object-state.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const object = (uid: string) => ({ namespace: 'shop', name: 'web', uid });

function subscription() {
  let ended = 0;
  return {
    ended: () => ended,
    [Symbol.dispose]() {
      ended += 1;
    },
  };
}

describe('ObjectStates', () => {
  it('keeps one state per object with the time at which the object was first seen', async () => {
    const clock = createFakeClock();
    const states = new ObjectStates(clock);
    const since = clock.monotonic();
    const state = states.track(object('1'));
    await clock.advance(1000);
    expect(states.track(object('1'))).toBe(state);
    expect(state.firstSeenAt).toBe(since);
    expect([...states]).toEqual([state]);
  });

  it('creates another state for another object of the same name', () => {
    const states = new ObjectStates(createFakeClock());
    const first = states.track(object('1'));
    const ended = subscription();
    first.subscribe([ended]);
    first.endpointChange.arrived(5);
    const second = states.track(object('2'));
    expect(second).not.toBe(first);
    expect(second.endpointChange.isPending).toBe(false);
    expect(ended.ended()).toBe(1);
    expect(states.of(object('1'))).toBeUndefined();
    expect(states.of(object('2'))).toBe(second);
    expect(states.get('shop/web')).toBe(second);
  });

  it('ends the subscriptions of an object when they are replaced and when the object is deleted', () => {
    const states = new ObjectStates(createFakeClock());
    const [first, second] = [subscription(), subscription()];
    const state = states.track(object('1'));
    state.subscribe([first]);
    state.subscribe([second]);
    expect([first.ended(), second.ended()]).toEqual([1, 0]);
    states.drop('shop/web');
    states.drop('shop/web');
    expect([first.ended(), second.ended()]).toEqual([1, 1]);
    expect(states.get('shop/web')).toBeUndefined();
  });

  it('ends all subscriptions when it is disposed', () => {
    const states = new ObjectStates(createFakeClock());
    const ended = subscription();
    states.track(object('1')).subscribe([ended]);
    states[Symbol.dispose]();
    expect(ended.ended()).toBe(1);
    expect([...states]).toEqual([]);
  });

  it('returns the removal-guard state of known objects only', () => {
    const states = new ObjectStates(createFakeClock());
    expect(states.recall('shop/web')).toBeUndefined();
    states.track(object('1')).removalGuard.read(['basis'], []);
    expect(states.recall('shop/web')).toMatchObject({ basis: ['basis'] });
  });
});
