import { setImmediate } from 'node:timers/promises';
import { objectKey } from '../model/keys.ts';
import type { Stored } from '../model/store-view.ts';
import { identityIn, objectIn } from '../runtime/json.ts';
import type { Logger } from '../runtime/logger.ts';
import { KubeApiError } from './kube-error.ts';
import type { ObjectFailure, Store } from './store.ts';

export interface ObjectReaderOptions<T extends Stored> {
  readonly name: string;
  /**
   * Cuts an object down to what is kept. Returns undefined for an object that is not usable, and throws for one that it
   * cannot read. In both cases the object stays as it was known; if it was not known, `unreadable` stands for one that
   * cannot be read.
   */
  readonly transform: (raw: unknown) => T | undefined;
  /**
   * Stands for an object that exists, cannot be read, and was not known before. Absent, or undefined: the object looks as if
   * it did not exist. Only for kinds where that does no harm.
   */
  readonly unreadable?: ((raw: unknown, why: string) => T | undefined) | undefined;
  readonly reportError: (error: unknown, failure: ObjectFailure) => void;
  readonly store: Store<T>;
  readonly log: Logger;
}

/** Everything else in the process waits no longer than this, and the reading of one object, for a list. */
const TURN_MS = 10;

/** Reads the objects of one collection. One object that cannot be read does not keep the others from being read. */
export class ObjectReader<T extends Stored> {
  readonly #options: ObjectReaderOptions<T>;

  constructor(options: ObjectReaderOptions<T>) {
    this.#options = options;
  }

  /** The object cut down, or what was known of it where it is not usable or not readable: it must not look deleted. */
  read(raw: unknown): T | undefined {
    const { store, transform, unreadable, reportError, log } = this.#options;
    const { namespace, name: object } = this.identify(raw);
    const known = store.get(namespace, object);
    try {
      const transformed = transform(raw);
      if (transformed !== undefined) return transformed;
      log.debug({ namespace, object }, 'ignored an object that the operator does not use');
      return known;
    } catch (error) {
      reportError(error, { step: 'read', object: objectKey(namespace, object) });
      return known ?? unreadable?.(raw, error instanceof Error ? error.message : 'unknown reason');
    }
  }

  /** Each object as `read` gives it. Ends its turn of the event loop now and then: a lease must be renewed meanwhile. */
  async readAll(all: Iterable<unknown>): Promise<readonly T[]> {
    const objects: T[] = [];
    let began = performance.now();
    for (const raw of all) {
      const object = this.read(raw);
      if (object !== undefined) objects.push(object);
      if (performance.now() - began >= TURN_MS) {
        await setImmediate();
        began = performance.now();
      }
    }
    return objects;
  }

  /** Throws `KubeApiError` for an object without an identity: if it were skipped, some known object would look deleted. */
  identify(raw: unknown): Stored {
    const identity = identityIn(objectIn(raw));
    if (identity === undefined)
      throw new KubeApiError(`the API server sent an item of ${this.#options.name} without a name or uid`);
    return identity;
  }
}
