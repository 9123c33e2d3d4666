import { objectKey } from '../core/model.ts';
import type { StoreEvent } from '../kube/store.ts';
import type { SliceFacts } from './kubernetes.ts';

/** About 200 bytes each; what is forgotten counts as never seen, which holds it for half a minute at most. */
const MAX_REMEMBERED = 20_000;

/** Remembers how the addresses that Services list no more looked when they were listed last. */
export class Departures {
  /** By `namespace/service address`: whether it was terminating. The oldest come first. */
  readonly #terminating = new Map<string, boolean>();

  note({ previous, current }: StoreEvent<SliceFacts>): void {
    const stays = new Set(
      current?.service === previous?.service ? current?.endpoints.map(({ address }) => address) : [],
    );
    for (const { address, terminating } of previous?.endpoints ?? []) {
      if (previous !== undefined && !stays.has(address))
        this.#remember(keyOf(previous, address), terminating);
    }
    for (const { address, terminating } of current?.endpoints ?? []) {
      if (current !== undefined && !terminating) this.#terminating.delete(keyOf(current, address));
    }
  }

  /** Undefined: nothing is known of it. */
  wasTerminating(namespace: string, service: string, address: string): boolean | undefined {
    return this.#terminating.get(`${objectKey(namespace, service)} ${address}`);
  }

  #remember(key: string, terminating: boolean): void {
    // A copy of it in another slice may be older.
    const known = this.#terminating.get(key) ?? false;
    this.#terminating.delete(key);
    this.#terminating.set(key, terminating || known);
    const [oldest] = this.#terminating.keys();
    if (this.#terminating.size > MAX_REMEMBERED && oldest !== undefined) this.#terminating.delete(oldest);
  }
}

function keyOf({ namespace, service }: SliceFacts, address: string): string {
  return `${objectKey(namespace, service)} ${address}`;
}
