import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { interned } from '../../../src/runtime/interned.ts';
import { MultiMap } from '../../../src/runtime/multi-map.ts';

describe('MultiMap', () => {
  it('has the same content as a map of sets, in the same order', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'delete'),
      key: fc.integer({ min: 0, max: 3 }),
      value: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const map = new MultiMap<number, number>();
        const model = new Map<number, Set<number>>();
        for (const { kind, key, value } of steps) {
          const set = model.get(key) ?? new Set();
          if (kind === 'add') {
            map.add(key, value);
            model.set(key, set.add(value));
          } else {
            map.delete(key, value);
            set.delete(value);
            if (set.size === 0) model.delete(key);
          }
          for (const one of [0, 1, 2, 3]) expect(map.get(one)).toEqual([...(model.get(one) ?? [])]);
          expect([...map.keys()].toSorted()).toEqual([...model.keys()].toSorted());
        }
      }),
    );
  });
});

describe('interned', () => {
  it('returns an equal text, also after its table is full', () => {
    for (let index = 0; index < 120_000; index += 1) {
      if (interned(`text ${index}`) !== `text ${index}`) expect.fail(`text ${index} is another one`);
    }
  });
});
