import { describe, expect, it } from 'vitest';
import { Slots } from '../../../../src/engine/session/slot.ts';
import type { ObservedUpstream } from '../../../../src/model/upstream.ts';

const observed = (id: string, canonical: string): ObservedUpstream => ({
  id,
  labels: {},
  nodes: [],
  canonical,
});
const listed = (...upstreams: readonly ObservedUpstream[]) =>
  new Map(upstreams.map((upstream) => [upstream.id, upstream]));

describe('Slots', () => {
  it('drops only empty slots', () => {
    const slots = new Slots(() => true);
    const slot = slots.take('a');
    expect(slots.take('a')).toBe(slot);
    slot.lock = Promise.resolve();
    slots.dropIfEmpty(slot);
    expect(slots.get('a')).toBe(slot);
    slot.lock = undefined;
    slots.dropIfEmpty(slot);
    expect(slots.get('a')).toBeUndefined();
  });

  it('drops an id that is missing in a list once its drift is reported', () => {
    const slots = new Slots(() => true);
    slots.learn(slots.take('a'), observed('a', '1'), 0);
    expect(slots.adopt(listed(), slots.position, 10)).toEqual(new Set(['a']));
    expect(slots.counts()).toEqual({ known: 0, uncertain: 0 });
    expect(slots.takeDrift('a')).toEqual(observed('a', '1'));
    expect(slots.get('a')).toBeUndefined();
  });

  it('keeps reads and writes that are newer than the start of the list', () => {
    const slots = new Slots(() => true);
    const [learned, written] = [slots.take('learned'), slots.take('written')];
    slots.learn(written, observed('written', '1'), 0);
    const { position } = slots;
    slots.learn(learned, observed('learned', '2'), 5);
    slots.noteUncertain(written, 5);
    expect(slots.adopt(listed(observed('learned', '1')), position, 1)).toEqual(new Set());
    expect(learned.content?.canonical).toBe('2');
    expect(written.isUncertain).toBe(true);
    expect(slots.isUnsettled).toBe(true);
  });

  it('orders read-backs by time, and reschedules one after a later unanswered write', () => {
    const slots = new Slots(() => true);
    const [a, b] = [slots.take('a'), slots.take('b')];
    slots.noteUncertain(a, 0);
    slots.noteUncertain(b, 10);
    slots.noteUncertain(a, 20);
    expect(slots.firstReadBackAt).toBe(60_010);
    expect(slots.readBacksDue(60_010)).toEqual([b]);
    slots.noteReadBack(b);
    expect(slots.firstReadBackAt).toBe(60_020);
    slots.noteReadBack(a);
    expect(slots.isUnsettled).toBe(false);
  });

  it('records no drift of unused ids', () => {
    const slots = new Slots(() => false);
    slots.learn(slots.take('a'), observed('a', '1'), 0);
    expect(slots.adopt(listed(observed('a', '2')), slots.position, 10)).toEqual(new Set(['a']));
    expect(slots.takeDrift('a')).toBeUndefined();
  });
});
