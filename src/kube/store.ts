import { isDeepStrictEqual } from 'node:util';
import { keyOf } from '../model/keys.ts';
import type { Stored, StoreEvent, StoreState, StoreView } from '../model/store-view.ts';
import { MultiMap } from '../runtime/multi-map.ts';

/** A store with its write operations, for a reflector. */
export interface Store<T extends Stored> extends StoreView<T> {
  /** Replaces the content of the store. Unchanged objects cause no event. */
  replaceAll(objects: readonly T[]): void;
  /** Adds or replaces an object. Causes no event if uid and resourceVersion are unchanged. */
  upsert(object: T): void;
  /** Removes an object. Does nothing if it is not stored, or if another object now has its name. */
  remove(object: Stored): void;
  setState(state: StoreState): void;
}

/** The steps of processing one object. */
export const OBJECT_STEPS = ['read', 'compare', 'index', 'notify'] as const;

export type ObjectStep = (typeof OBJECT_STEPS)[number];

/** A step that threw for one object. Other objects are not affected. */
export interface ObjectFailure {
  readonly step: ObjectStep;
  /** `namespace/name`. Undefined if a listener for the store's state threw. */
  readonly object: string | undefined;
}

export interface StoreOptions<T> {
  readonly indexes: Readonly<Record<string, (object: T) => readonly string[]>>;
  readonly reportError: (error: unknown, failure: ObjectFailure) => void;
}

const NO_VALUES: ReadonlySet<string> = new Set();

export function createStore<T extends Stored>(options: StoreOptions<T>): Store<T> {
  return new IndexedStore(options);
}

/** An index function, and the keys of the objects for each value that it returned. */
interface Index<T> {
  readonly name: string;
  readonly valuesOf: (object: T) => readonly string[];
  readonly keys: MultiMap<string, string>;
}

class IndexedStore<T extends Stored> implements Store<T> {
  readonly #objects = new Map<string, T>();
  readonly #indexes: readonly Index<T>[];
  readonly #changeListeners = new Set<(event: StoreEvent<T>) => void>();
  readonly #stateListeners = new Set<(state: StoreState) => void>();
  readonly #reportError: StoreOptions<T>['reportError'];
  #state: StoreState = { state: 'syncing' };

  constructor({ indexes, reportError }: StoreOptions<T>) {
    this.#reportError = reportError;
    this.#indexes = Object.entries(indexes).map(([name, valuesOf]) => ({
      name,
      valuesOf,
      keys: new MultiMap<string, string>(),
    }));
  }

  get state(): StoreState {
    return this.#state;
  }

  get size(): number {
    return this.#objects.size;
  }

  get(namespace: string, name: string): T | undefined {
    return this.#objects.get(`${namespace}/${name}`);
  }

  list(): IterableIterator<T> {
    return this.#objects.values();
  }

  byIndex(name: string, value: string): readonly T[] {
    const keys = this.#indexes.find((one) => one.name === name)?.keys.get(value) ?? [];
    return keys.flatMap((key) => this.#objects.get(key) ?? []);
  }

  onChange(listener: (event: StoreEvent<T>) => void): Disposable {
    return subscribe(this.#changeListeners, listener);
  }

  onState(listener: (state: StoreState) => void): Disposable {
    return subscribe(this.#stateListeners, listener);
  }

  upsert(object: T): void {
    this.#upsert(object);
  }

  remove(object: Stored): void {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (previous?.uid === object.uid) this.#change(key, previous, undefined);
  }

  replaceAll(objects: readonly T[]): void {
    const kept = new Set<string>(objects.map(keyOf));
    for (const [key, previous] of [...this.#objects]) {
      if (!kept.has(key)) this.#change(key, previous, undefined);
    }
    // After a restore from backup, the API server may reuse a resourceVersion for different content, so compare the
    // content.
    for (const object of objects) this.#upsert(object, (previous) => this.#isEqual(previous, object));
  }

  setState(next: StoreState): void {
    const same = this.#state.state === next.state && JSON.stringify(this.#state) === JSON.stringify(next);
    if (same) return;
    this.#state = next;
    this.#notify(this.#stateListeners, next);
  }

  #upsert(object: T, isSame: (previous: T) => boolean = () => true): void {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (previous?.uid === object.uid && previous.resourceVersion === object.resourceVersion) {
      if (isSame(previous)) return;
    }
    // Another uid means another object, so the previous one is removed first.
    if (previous !== undefined && previous.uid !== object.uid) {
      this.#change(key, previous, undefined);
      this.#change(key, undefined, object);
    } else this.#change(key, previous, object);
  }

  #change(key: string, previous: T | undefined, current: T | undefined): void {
    this.#index(key, previous, current);
    if (current !== undefined) this.#objects.set(key, current);
    else this.#objects.delete(key);
    this.#notify(this.#changeListeners, { previous, current }, key);
  }

  #index(key: string, previous: T | undefined, current: T | undefined): void {
    for (const index of this.#indexes) {
      const before = this.#valuesOf(index, key, previous);
      const after = this.#valuesOf(index, key, current);
      for (const value of before) if (!after.has(value)) index.keys.delete(value, key);
      for (const value of after) if (!before.has(value)) index.keys.add(value, key);
    }
  }

  #valuesOf({ valuesOf }: Index<T>, key: string, object: T | undefined): ReadonlySet<string> {
    if (object === undefined) return NO_VALUES;
    return this.#attempt('index', key, () => new Set(valuesOf(object)), NO_VALUES);
  }

  /** False if the comparison throws, so that the object is processed as changed. */
  #isEqual(previous: T, object: T): boolean {
    return this.#attempt('compare', keyOf(object), () => isDeepStrictEqual(previous, object), false);
  }

  #notify<E>(listeners: ReadonlySet<(event: E) => void>, event: E, object?: string): void {
    // Copied, because listeners may subscribe and unsubscribe while they are called.
    for (const listener of [...listeners]) this.#attempt('notify', object, () => listener(event), undefined);
  }

  /** Runs one step for one object. If it throws, reports the error and returns `fallback`. */
  #attempt<R>(step: ObjectStep, object: string | undefined, run: () => R, fallback: R): R {
    try {
      return run();
    } catch (error) {
      this.#reportError(error, { step, object });
      return fallback;
    }
  }
}

function subscribe<L>(listeners: Set<L>, listener: L): Disposable {
  listeners.add(listener);
  return {
    [Symbol.dispose]() {
      listeners.delete(listener);
    },
  };
}
