import { describe, expect, it, vi } from 'vitest';
import { createMultiNamespaceCache } from '../../../src/kube/multi-namespace-cache.ts';
import { createStore } from '../../../src/kube/store.ts';
import type { Stored } from '../../../src/model/store-view.ts';

const object = (namespace: string, name: string): Stored => ({
  namespace,
  name,
  uid: `${namespace}-${name}`,
  resourceVersion: '1',
});

function start() {
  const make = () => createStore<Stored>({ indexes: { name: ({ name }) => [name] }, reportError: vi.fn() });
  const a = make();
  const b = make();
  return {
    a,
    b,
    view: createMultiNamespaceCache(
      new Map([
        ['a', a],
        ['b', b],
      ]),
    ),
  };
}

describe('multi-namespace cache', () => {
  it('contains the objects of all namespaces', () => {
    const { a, b, view } = start();
    a.replaceAll([object('a', 'x'), object('a', 'y')]);
    b.replaceAll([object('b', 'x')]);
    expect(view.size).toBe(3);
    expect([...view.list()].map(({ namespace, name }) => `${namespace}/${name}`)).toEqual([
      'a/x',
      'a/y',
      'b/x',
    ]);
    expect(view.byIndex('name', 'x')).toHaveLength(2);
    expect(view.get('b', 'x')).toEqual(object('b', 'x'));
    expect(view.get('b', 'y')).toBeUndefined();
    expect(view.get('c', 'x')).toBeUndefined();
  });

  it('is synced only when all namespaces are, and reports the problem until then', () => {
    const { a, b, view } = start();
    const states: string[] = [];
    using _listener = view.onState((state) => states.push(JSON.stringify(state)));
    expect(view.state).toEqual({ state: 'syncing' });
    a.setState({ state: 'synced' });
    expect(view.state).toEqual({ state: 'syncing' });
    b.setState({ state: 'syncing', problem: 'forbidden' });
    expect(view.state).toEqual({ state: 'syncing', problem: 'forbidden' });
    b.setState({ state: 'synced' });
    expect(view.state).toEqual({ state: 'synced' });
    a.setState({ state: 'absent' });
    expect(view.state).toEqual({ state: 'absent' });
    expect(states).toEqual([
      '{"state":"syncing","problem":"forbidden"}',
      '{"state":"synced"}',
      '{"state":"absent"}',
    ]);
  });

  it('notifies of changes in all namespaces until the subscription is disposed', () => {
    const { a, b, view } = start();
    const listener = vi.fn();
    const subscription = view.onChange(listener);
    a.upsert(object('a', 'x'));
    b.upsert(object('b', 'x'));
    subscription[Symbol.dispose]();
    b.upsert(object('b', 'y'));
    expect(listener).toHaveBeenCalledTimes(2);
  });
});
