import { isDeepStrictEqual } from 'node:util';
import { objectKey } from '../model/keys.ts';
import type { Stored, StoreEvent, StoreState, StoreView } from '../model/store-view.ts';
import { MultiMap } from '../runtime/multi-map.ts';

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

/** What the program does with one object: reads it, compares it with the one before, indexes it, tells listeners. */
export const OBJECT_STEPS = ['read', 'compare', 'index', 'notify'] as const;

export type ObjectStep = (typeof OBJECT_STEPS)[number];

/** A step that threw for one object. It concerns that object only: the store goes on with the others. */
export interface ObjectFailure {
  readonly step: ObjectStep;
  /** `namespace/name`; undefined where a listener of the store's state threw. */
  readonly object: string | undefined;
}

export interface StoreOptions<T> {
  readonly indexes: Readonly<Record<string, (object: T) => readonly string[]>>;
  readonly reportError: (error: unknown, failure: ObjectFailure) => void;
}

const NO_VALUES: ReadonlySet<string> = new Set();

const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  objectKey(namespace, name);

export function createStore<T extends Stored>({ indexes, reportError }: StoreOptions<T>): Store<T> {
  const objects = new Map<string, T>();
  /** By the name of an index: which keys of `objects` have a value. */
  const indexed = Object.entries(indexes).map(
    ([name, valuesOf]) => ({ name, valuesOf, keys: new MultiMap<string, string>() }) as const,
  );
  const changeListeners = new Set<(event: StoreEvent<T>) => void>();
  const stateListeners = new Set<(state: StoreState) => void>();
  let state: StoreState = { state: 'syncing' };

  /** Runs one step for one object; what it throws is reported, and `fallback` is its result. */
  const attempt = <R>(step: ObjectStep, object: string | undefined, run: () => R, fallback: R): R => {
    try {
      return run();
    } catch (error) {
      reportError(error, { step, object });
      return fallback;
    }
  };

  const index = (key: string, previous: T | undefined, current: T | undefined) => {
    for (const { valuesOf, keys } of indexed) {
      const valuesIn = (object: T | undefined): ReadonlySet<string> =>
        object === undefined ? NO_VALUES : attempt('index', key, () => new Set(valuesOf(object)), NO_VALUES);
      const before = valuesIn(previous);
      const after = valuesIn(current);
      for (const value of before) if (!after.has(value)) keys.delete(value, key);
      for (const value of after) if (!before.has(value)) keys.add(value, key);
    }
  };

  const tell = <E>(listeners: ReadonlySet<(event: E) => void>, event: E, object?: string) => {
    // A copy: listeners come and go while they are told.
    for (const listener of [...listeners]) attempt('notify', object, () => listener(event), undefined);
  };

  const change = (key: string, previous: T | undefined, current: T | undefined) => {
    index(key, previous, current);
    if (current !== undefined) objects.set(key, current);
    else objects.delete(key);
    tell(changeListeners, { previous, current }, key);
  };

  const upsert = (object: T, isSame: (previous: T) => boolean = () => true) => {
    const key = keyOf(object);
    const previous = objects.get(key);
    if (previous?.uid === object.uid && previous.resourceVersion === object.resourceVersion) {
      if (isSame(previous)) return;
    }
    // Another uid is another object: the one that was there is gone first.
    if (previous !== undefined && previous.uid !== object.uid) {
      change(key, previous, undefined);
      change(key, undefined, object);
    } else change(key, previous, object);
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
    byIndex(name, value) {
      const keys = indexed.find((one) => one.name === name)?.keys.get(value) ?? [];
      return keys.flatMap((key) => objects.get(key) ?? []);
    },
    onChange: (listener) => subscribe(changeListeners, listener),
    onState: (listener) => subscribe(stateListeners, listener),
    upsert: (object) => upsert(object),
    remove(object) {
      const key = keyOf(object);
      const previous = objects.get(key);
      if (previous?.uid === object.uid) change(key, previous, undefined);
    },
    replaceAll(list) {
      const kept = new Set(list.map(keyOf));
      for (const [key, previous] of [...objects]) if (!kept.has(key)) change(key, previous, undefined);
      // After a restore from a backup a version is given out a second time, to something else.
      for (const object of list) {
        // One that cannot be compared counts as changed.
        upsert(object, (previous) =>
          attempt('compare', keyOf(object), () => isDeepStrictEqual(previous, object), false),
        );
      }
    },
    setState(next) {
      const same = state.state === next.state && JSON.stringify(state) === JSON.stringify(next);
      if (same) return;
      state = next;
      tell(stateListeners, state);
    },
  };
}
