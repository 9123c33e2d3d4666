import type { Stored, StoreState, StoreView } from '../model/store-view.ts';

/**
 * Combines the per-namespace stores of one kind into one view. The view is synced only when all namespaces are, so that no
 * decision is based on a part of the objects.
 */
export function createMultiNamespaceCache<T extends Stored>(
  byNamespace: ReadonlyMap<string, StoreView<T>>,
): StoreView<T> {
  const stores = [...byNamespace.values()];

  const state = (): StoreState => {
    const states = stores.map((store) => store.state);
    const syncing = states.filter((one) => one.state === 'syncing');
    return (
      syncing.find(({ problem }) => problem !== undefined) ??
      syncing[0] ??
      states.find((one) => one.state === 'absent') ?? { state: 'synced' }
    );
  };

  const all = (subscriptions: readonly Disposable[]): Disposable => ({
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
    },
  });

  return {
    get state() {
      return state();
    },
    get size() {
      return stores.reduce((size, store) => size + store.size, 0);
    },
    get: (namespace, name) => byNamespace.get(namespace)?.get(namespace, name),
    *list() {
      for (const store of stores) yield* store.list();
    },
    byIndex: (index, value) => stores.flatMap((store) => store.byIndex(index, value)),
    onChange: (listener) => all(stores.map((store) => store.onChange(listener))),
    onState(listener) {
      let last = JSON.stringify(state());
      return all(
        stores.map((store) =>
          store.onState(() => {
            const next = state();
            const text = JSON.stringify(next);
            if (text === last) return;
            last = text;
            listener(next);
          }),
        ),
      );
    },
  };
}
