import type { Departed } from '../../model/discovered.ts';
import type { Endpoint } from '../../model/endpoint.ts';
import { type ObjectKey, objectKey } from '../../model/keys.ts';
import type { StoreEvent } from '../../model/store-view.ts';
import type { SliceFacts } from './transform.ts';

/** About 60 bytes each; what is forgotten counts as never seen, which holds it for half a minute at most. */
const MAX_REMEMBERED = 20_000;

/** Remembers how the endpoints that Services list no more looked when they were listed last. */
export class RemovedEndpoints {
  /**
   * By Service, and by what departed: whether it was terminating. A Service that something departed from lately comes
   * after the others, and so does what departed lately.
   */
  readonly #services = new Map<ObjectKey, Map<string, boolean>>();
  #size = 0;

  note({ previous, current }: StoreEvent<SliceFacts>): void {
    const kept = current?.service === previous?.service ? (current?.endpoints ?? []) : [];
    let addresses: ReadonlySet<string> | undefined;
    // Most stay, and in their place.
    const stays = (address: string, index: number) => {
      if (kept[index]?.address === address) return true;
      addresses ??= new Set(kept.map((endpoint) => endpoint.address));
      return addresses.has(address);
    };
    if (previous !== undefined) {
      const service = objectKey(previous.namespace, previous.service);
      const before = this.#services.get(service);
      const gone = new Map<string, boolean>();
      for (const [index, endpoint] of previous.endpoints.entries()) {
        if (stays(endpoint.address, index)) continue;
        const { terminating } = endpoint;
        for (const removedEndpoints of departedWith(endpoint)) {
          const key = departedKey(removedEndpoints);
          gone.set(
            key,
            removedEndpoints.kind === 'address'
              ? // A copy of it in another slice may be older.
                terminating || gone.get(key) === true || before?.get(key) === true
              : terminating && gone.get(key) !== false,
          );
        }
      }
      if (gone.size > 0) this.#remember(service, gone);
    }
    if (current !== undefined && this.#size > 0) {
      const service = objectKey(current.namespace, current.service);
      if (!this.#services.has(service)) return;
      for (const endpoint of current.endpoints) {
        if (endpoint.terminating) continue;
        for (const removedEndpoints of departedWith(endpoint))
          this.#forget(service, departedKey(removedEndpoints));
      }
    }
  }

  /** Undefined: nothing is known of it. */
  wasTerminating(namespace: string, service: string, removedEndpoints: Departed): boolean | undefined {
    return this.#services.get(objectKey(namespace, service))?.get(departedKey(removedEndpoints));
  }

  #remember(service: ObjectKey, gone: ReadonlyMap<string, boolean>): void {
    const remembered = this.#services.get(service) ?? new Map<string, boolean>();
    this.#services.delete(service);
    this.#services.set(service, remembered);
    for (const [key, terminating] of gone) {
      if (!remembered.delete(key)) this.#size += 1;
      remembered.set(key, terminating);
    }
    while (this.#size > MAX_REMEMBERED) {
      // One Service that loses that much must not make the others forgotten.
      const own = [service, remembered] as const;
      const [[oldest, entries] = own] = remembered.size > MAX_REMEMBERED / 2 ? [own] : this.#services;
      const [key = ''] = entries.keys();
      this.#forget(oldest, key);
    }
  }

  #forget(service: ObjectKey, key: string): void {
    const remembered = this.#services.get(service);
    if (remembered?.delete(key) !== true) return;
    this.#size -= 1;
    if (remembered.size === 0) this.#services.delete(service);
  }
}

/** Everything that has departed from the Service if `endpoint` was the last of it. */
function departedWith({ address, node }: Pick<Endpoint, 'address' | 'node'>): readonly Departed[] {
  return [
    { kind: 'address', address },
    ...(node === undefined ? [] : [{ kind: 'node', node } as const]),
    { kind: 'all' },
  ];
}

/** No address and no name of a node has a blank. */
function departedKey(removedEndpoints: Departed): string {
  switch (removedEndpoints.kind) {
    case 'address':
      return removedEndpoints.address;
    case 'node':
      return `on ${removedEndpoints.node}`;
    case 'all':
      return ' ';
    default:
      return removedEndpoints satisfies never;
  }
}
