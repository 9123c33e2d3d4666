import { isDeepStrictEqual } from 'node:util';

/** The least that every stored object has. */
export interface Stored {
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

export type StoreState =
  /** Not listed in full yet: what is missing here says nothing. `problem`: why the first list failed. */
  | { readonly state: 'syncing'; readonly problem?: string }
  /** Listed in full at least once and followed since. */
  | { readonly state: 'synced' }
  /** The API server does not serve this kind (its CRD is not installed). Noticed when it appears. */
  | { readonly state: 'absent' };

export interface StoreEvent<T> {
  readonly previous: T | undefined;
  readonly current: T | undefined;
}

/** What controllers and sources see of a cache: reads only. */
export interface StoreView<T extends Stored> {
  readonly state: StoreState;
  readonly size: number;
  /** `namespace` is empty for cluster-scoped objects. */
  get(namespace: string, name: string): T | undefined;
  list(): IterableIterator<T>;
  /** Objects whose index function returned `value`. */
  byIndex(index: string, value: string): readonly T[];
  /** Called after the store holds the change; a listener that throws is reported and the others still run. */
  onChange(listener: (event: StoreEvent<T>) => void): Disposable;
  /** Called whenever `state` changed. */
  onState(listener: (state: StoreState) => void): Disposable;
}

/** The writing side, for a reflector. */
export interface Store<T extends Stored> extends StoreView<T> {
  /** Makes `objects` everything there is; an object that is the same makes no event. */
  replaceAll(objects: readonly T[]): void;
  /** An object with the same uid and version makes no event. */
  upsert(object: T): void;
  /** Nothing if the object is not there, or is another one of that name by now. */
  remove(object: Stored): void;
  setState(state: StoreState): void;
}

export interface StoreOptions<T> {
  readonly indexes: Readonly<Record<string, (object: T) => readonly string[]>>;
  readonly reportListenerError: (error: unknown) => void;
}

const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`;

export function createStore<T extends Stored>({ indexes, reportListenerError }: StoreOptions<T>): Store<T> {
  const objects = new Map<string, T>();
  const indexed = new Map(Object.keys(indexes).map((name) => [name, new Map<string, Set<T>>()]));
  const changeListeners = new Set<(event: StoreEvent<T>) => void>();
  const stateListeners = new Set<(state: StoreState) => void>();
  let state: StoreState = { state: 'syncing' };

  const index = (object: T, change: 'add' | 'delete') => {
    for (const [name, valuesOf] of Object.entries(indexes)) {
      const entries = indexed.get(name) ?? new Map<string, Set<T>>();
      for (const value of valuesOf(object)) {
        const set = entries.get(value) ?? new Set();
        set[change](object);
        if (set.size > 0) entries.set(value, set);
        else entries.delete(value);
      }
    }
  };

  const tell = <E>(listeners: ReadonlySet<(event: E) => void>, event: E) => {
    // A copy: listeners come and go while they are told.
    for (const listener of [...listeners]) {
      try {
        listener(event);
      } catch (error) {
        reportListenerError(error);
      }
    }
  };

  const change = (previous: T | undefined, current: T | undefined) => {
    if (previous !== undefined) index(previous, 'delete');
    if (current !== undefined) {
      index(current, 'add');
      objects.set(keyOf(current), current);
    } else if (previous !== undefined) objects.delete(keyOf(previous));
    tell(changeListeners, { previous, current });
  };

  const upsert = (object: T, isSame: (previous: T) => boolean = () => true) => {
    const previous = objects.get(keyOf(object));
    if (previous?.uid === object.uid && previous.resourceVersion === object.resourceVersion) {
      if (isSame(previous)) return;
    }
    // Another uid is another object: the one that was there is gone first.
    if (previous !== undefined && previous.uid !== object.uid) {
      change(previous, undefined);
      change(undefined, object);
    } else change(previous, object);
  };

  const subscribe = <L>(listeners: Set<L>, listener: L): Disposable => {
    listeners.add(listener);
    return {
      [Symbol.dispose]() {
        listeners.delete(listener);
      },
    };
  };

  return {
    get state() {
      return state;
    },
    get size() {
      return objects.size;
    },
    get: (namespace, name) => objects.get(`${namespace}/${name}`),
    list: () => objects.values(),
    byIndex: (name, value) => [...(indexed.get(name)?.get(value) ?? [])],
    onChange: (listener) => subscribe(changeListeners, listener),
    onState: (listener) => subscribe(stateListeners, listener),
    upsert: (object) => upsert(object),
    remove(object) {
      const previous = objects.get(keyOf(object));
      if (previous?.uid === object.uid) change(previous, undefined);
    },
    replaceAll(list) {
      const kept = new Set(list.map(keyOf));
      for (const previous of [...objects.values()]) {
        if (!kept.has(keyOf(previous))) change(previous, undefined);
      }
      // After a restore from a backup a version is given out a second time, to something else.
      for (const object of list) upsert(object, (previous) => isDeepStrictEqual(previous, object));
    },
    setState(next) {
      const same = state.state === next.state && JSON.stringify(state) === JSON.stringify(next);
      if (same) return;
      state = next;
      tell(stateListeners, state);
    },
  };
}
