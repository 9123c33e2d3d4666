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
   * Reduces an object to the parts that the store keeps. Returns undefined for an object that the operator does not use,
   * and throws for an object that it cannot read. In both cases the stored object is unchanged. If no object is stored,
   * `unreadable` provides a substitute for an object that cannot be read.
   */
  readonly transform: (raw: unknown) => T | undefined;
  /**
   * Substitute for an object that exists but cannot be read, and is not yet stored. Without a substitute, the operator
   * treats the object as missing. Leave it out only for kinds where that is safe.
   */
  readonly unreadable?: ((raw: unknown, why: string) => T | undefined) | undefined;
  readonly reportError: (error: unknown, failure: ObjectFailure) => void;
  readonly store: Store<T>;
  readonly log: Logger;
}

/** While a list is read, the event loop is blocked for at most this long, plus the time to read one object. */
const MAX_TURN_MS = 10;

/** Reads the objects of one collection. An object that cannot be read does not affect the others. */
export class ObjectReader<T extends Stored> {
  readonly #options: ObjectReaderOptions<T>;

  constructor(options: ObjectReaderOptions<T>) {
    this.#options = options;
  }

  /** The reduced object, or the stored one if `raw` is unusable or unreadable: the object must not appear deleted. */
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

  /** Reads all objects with `read`. Yields to the event loop, so that the lease can be renewed in the meantime. */
  async readAll(all: Iterable<unknown>): Promise<readonly T[]> {
    const objects: T[] = [];
    let began = performance.now();
    for (const raw of all) {
      const object = this.read(raw);
      if (object !== undefined) objects.push(object);
      if (performance.now() - began >= MAX_TURN_MS) {
        await setImmediate();
        began = performance.now();
      }
    }
    return objects;
  }

  /** Throws `KubeApiError` for an object without an identity. Skipping it would make a stored object appear deleted. */
  identify(raw: unknown): Stored {
    const identity = identityIn(objectIn(raw));
    if (identity === undefined)
      throw new KubeApiError(`the API server sent an item of ${this.#options.name} without a name or uid`);
    return identity;
  }
}
