/** Several values of each key. A key that has only one, as most do, costs no set. Values are no sets themselves. */
export class MultiMap<K, V> {
  readonly #values = new Map<K, V | Set<V>>();

  /** The values of `key` in the order in which they came; a copy. */
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
