import { objectKey } from '../../model/keys.ts';
import type { Stored, StoreView } from '../../model/store-view.ts';
import { MultiMap } from '../../runtime/multi-map.ts';
import type { SourceChange } from '../source.ts';

type Listener = (what: SourceChange) => void;

/** Subscribers to changes, by the Service or Endpoints object that a reference names. */
export class Subscriptions {
  readonly #listeners = new MultiMap<string, Listener>();

  add(namespace: string, name: string, listener: Listener): Disposable {
    const key = objectKey(namespace, name);
    this.#listeners.add(key, listener);
    const dispose = () => this.#listeners.delete(key, listener);
    return { [Symbol.dispose]: dispose };
  }

  /** Call after an object changed. Objects of the first list are not announced individually, because `notifyAll` follows. */
  notify({ state }: Pick<StoreView<Stored>, 'state'>, namespace: string, name: string): void {
    if (state.state !== 'synced') return;
    for (const changed of this.#listeners.get(objectKey(namespace, name))) changed('instances');
  }

  /** Call after the state of a store changed. */
  notifyAll(): void {
    for (const key of [...this.#listeners.keys()]) {
      for (const changed of this.#listeners.get(key)) changed('source');
    }
  }
}
