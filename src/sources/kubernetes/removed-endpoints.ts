import type { Departed } from '../../model/discovered.ts';
import type { Endpoint } from '../../model/endpoint.ts';
import { type ObjectKey, objectKey } from '../../model/keys.ts';
import type { StoreEvent } from '../../model/store-view.ts';
import type { SliceFacts } from './transform.ts';

/** About 60 bytes each. A forgotten endpoint counts as never seen, so the removal guard keeps it for at most 30 s. */
const MAX_REMEMBERED = 20_000;

/** Remembers whether endpoints that Services no longer list were terminating when they were last listed. */
export class RemovedEndpoints {
  /** By Service and removed endpoint: whether it was terminating. Ordered by time of removal, most recent last. */
  readonly #services = new Map<ObjectKey, Map<string, boolean>>();
  #size = 0;

  note({ previous, current }: StoreEvent<SliceFacts>): void {
    const kept = current?.service === previous?.service ? (current?.endpoints ?? []) : [];
    let addresses: ReadonlySet<string> | undefined;
    // Most endpoints stay at the same index.
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
              ? // Another slice may contain an older copy of the endpoint.
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

  /** Undefined if it is not remembered. */
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
      // A Service that loses many endpoints must not displace the entries of the others.
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

/** Everything that is removed from the Service if `endpoint` is the last one on its node, or the last of all. */
function departedWith({ address, node }: Pick<Endpoint, 'address' | 'node'>): readonly Departed[] {
  return [
    { kind: 'address', address },
    ...(node === undefined ? [] : [{ kind: 'node', node } as const]),
    { kind: 'all' },
  ];
}

/** The keys cannot collide, because addresses and node names contain no space. */
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
