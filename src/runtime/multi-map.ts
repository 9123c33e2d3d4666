/** A map with several values per key. A key with a single value, the usual case, needs no set. Values must not be sets. */
export class MultiMap<K, V> {
  readonly #values = new Map<K, V | Set<V>>();

  /** A copy of the values of `key`, in insertion order. */
  get(key: K): readonly V[] {
    const known = this.#values.get(key);
    if (known === undefined) return [];
    return known instanceof Set ? [...known] : [known];
  }

  keys(): IterableIterator<K> {
    return this.#values.keys();
  }

  add(key: K, value: V): void {
    const known = this.#values.get(key);
    if (known instanceof Set) known.add(value);
    else if (known === undefined) this.#values.set(key, value);
    else if (known !== value) this.#values.set(key, new Set([known, value]));
  }

  delete(key: K, value: V): void {
    const known = this.#values.get(key);
    if (known === value) this.#values.delete(key);
    else if (known instanceof Set && known.delete(value) && known.size === 0) this.#values.delete(key);
  }
}
