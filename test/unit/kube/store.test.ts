import { describe, expect, it } from 'vitest';
import { createStore, type ObjectFailure } from '../../../src/kube/store.ts';
import type { Stored } from '../../../src/model/store-view.ts';

interface Thing extends Stored {
  readonly colors: readonly string[];
  readonly detail?: unknown;
}

function thing(name: string, version: string, more: Partial<Thing> = {}): Thing {
  return { namespace: 'ns', name, uid: `uid-${name}`, resourceVersion: version, colors: ['red'], ...more };
}

/** `levels` nested objects. */
function nested(levels: number): unknown {
  return JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);
}

function observed() {
  const errors: unknown[] = [];
  const failures: ObjectFailure[] = [];
  const events: string[] = [];
  const store = createStore<Thing>({
    indexes: { color: ({ colors }) => colors },
    reportError(error, failure) {
      errors.push(error);
      failures.push(failure);
    },
  });
  const label = (object: Thing | undefined) => (object ? `${object.uid}@${object.resourceVersion}` : '-');
  store.onChange(({ previous, current }) => events.push(`${label(previous)} > ${label(current)}`));
  return { store, events, errors, failures };
}

describe('store', () => {
  it('notifies of the changes in a new list only', () => {
    const { store, events } = observed();
    store.replaceAll([thing('a', '1'), thing('b', '2'), thing('c', '3')]);
    events.length = 0;
    store.replaceAll([thing('a', '1'), thing('b', '9'), thing('d', '4')]);
    expect(events.toSorted()).toEqual(['- > uid-d@4', 'uid-b@2 > uid-b@9', 'uid-c@3 > -']);
    expect([...store.list()].map(({ name }) => name).toSorted()).toEqual(['a', 'b', 'd']);
    expect(store.size).toBe(3);
  });

  it('detects changed content under an unchanged version, as after a restore from backup', () => {
    const { store, events } = observed();
    store.replaceAll([thing('a', '7')]);
    events.length = 0;
    store.replaceAll([thing('a', '7', { colors: ['blue'] })]);
    expect(events).toEqual(['uid-a@7 > uid-a@7']);
    expect(store.byIndex('color', 'blue')).toHaveLength(1);
    expect(store.byIndex('color', 'red')).toEqual([]);
  });

  it.each(['replaceAll', 'upsert'] as const)(
    'treats a new uid under the same name as a removal and an addition (%s)',
    (how) => {
      const { store, events } = observed();
      store.upsert(thing('a', '1', { colors: ['red'] }));
      events.length = 0;
      const next = thing('a', '5', { uid: 'other', colors: ['blue'] });
      if (how === 'upsert') store.upsert(next);
      else store.replaceAll([next]);
      expect(events).toEqual(['uid-a@1 > -', '- > other@5']);
      expect(store.byIndex('color', 'red')).toEqual([]);
      expect(store.byIndex('color', 'blue')).toEqual([next]);
    },
  );

  it('removes an object only if its uid matches', () => {
    const { store, events } = observed();
    store.upsert(thing('a', '1'));
    events.length = 0;
    store.remove(thing('a', '2', { uid: 'an older one of this name' }));
    store.remove(thing('b', '2'));
    expect(events).toEqual([]);
    store.remove(thing('a', '2'));
    expect(events).toEqual(['uid-a@1 > -']);
    expect(store.get('ns', 'a')).toBeUndefined();
  });

  it('keeps its indexes in sync with its objects', () => {
    const { store } = observed();
    store.upsert(thing('a', '1', { colors: ['red', 'blue'] }));
    store.upsert(thing('b', '2', { colors: ['blue'] }));
    store.upsert(thing('a', '3', { colors: ['green', 'blue'] }));
    const names = (color: string) =>
      store
        .byIndex('color', color)
        .map(({ name }) => name)
        .toSorted();
    expect(names('red')).toEqual([]);
    expect(names('green')).toEqual(['a']);
    expect(names('blue')).toEqual(['a', 'b']);
    store.replaceAll([]);
    expect(names('blue')).toEqual([]);
  });

  it('distinguishes namespaces and names', () => {
    const { store } = observed();
    const namespaced = thing('name', '1');
    const cluster = thing('name', '2', { namespace: '', uid: 'cluster' });
    store.replaceAll([namespaced, cluster]);
    expect(store.get('ns', 'name')).toBe(namespaced);
    expect(store.get('', 'name')).toBe(cluster);
  });

  it('applies a change before it notifies listeners, and reports a listener that throws', () => {
    const { store, errors } = observed();
    const sizes: number[] = [];
    const failure = new Error('a listener');
    store.onChange(() => {
      throw failure;
    });
    store.onChange(() => sizes.push(store.size));
    store.upsert(thing('a', '1'));
    store.remove(thing('a', '1'));
    expect(sizes).toEqual([1, 0]);
    expect(errors).toEqual([failure, failure]);
  });

  it('treats an object that cannot be compared as changed, and continues with the others', () => {
    const { store, events, failures } = observed();
    const deep = (name: string) => thing(name, '1', { detail: nested(20_000) });
    store.replaceAll([deep('a'), thing('b', '1')]);
    events.length = 0;
    store.replaceAll([deep('a'), thing('b', '2'), thing('c', '3')]);
    expect(events).toEqual(['uid-a@1 > uid-a@1', 'uid-b@1 > uid-b@2', '- > uid-c@3']);
    expect(failures).toEqual([{ step: 'compare', object: 'ns/a' }]);
  });

  it('keeps an object that cannot be indexed, and continues with the others', () => {
    const { store, failures } = observed();
    const broken = {
      ...thing('a', '1'),
      get colors(): readonly string[] {
        throw new Error('an index function');
      },
    };
    store.replaceAll([broken, thing('b', '1')]);
    expect(store.get('ns', 'a')).toBe(broken);
    expect(store.byIndex('color', 'red').map(({ name }) => name)).toEqual(['b']);
    store.remove(broken);
    expect(store.size).toBe(1);
    expect(failures).toEqual([
      { step: 'index', object: 'ns/a' },
      { step: 'index', object: 'ns/a' },
    ]);
  });

  it('allows listeners to subscribe and unsubscribe while they are called', () => {
    const { store } = observed();
    const heard: string[] = [];
    const once = store.onChange(() => {
      heard.push('once');
      once[Symbol.dispose]();
      store.onChange(() => heard.push('late'));
    });
    store.onChange(() => heard.push('always'));
    store.upsert(thing('a', '1'));
    expect(heard).toEqual(['once', 'always']);
    store.upsert(thing('a', '2'));
    expect(heard).toEqual(['once', 'always', 'always', 'late']);
  });

  it('notifies of each state once', () => {
    const { store } = observed();
    const states: unknown[] = [];
    using _listener = store.onState((state) => states.push(state));
    expect(store.state.state).toBe('syncing');
    store.setState({ state: 'syncing', problem: 'forbidden' });
    store.setState({ state: 'syncing', problem: 'forbidden' });
    store.setState({ state: 'synced' });
    store.setState({ state: 'synced' });
    store.setState({ state: 'absent' });
    expect(states).toEqual([
      { state: 'syncing', problem: 'forbidden' },
      { state: 'synced' },
      { state: 'absent' },
    ]);
  });
});
