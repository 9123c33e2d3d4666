import type { Departed } from '../core/fate.ts';
import { type ObjectKey, objectKey } from '../core/model.ts';
import type { StoreEvent } from '../kube/store.ts';
import type { SliceFacts } from './kubernetes.ts';

/** About 200 bytes each; what is forgotten counts as never seen, which holds it for half a minute at most. */
const MAX_REMEMBERED = 20_000;

/** Remembers how the endpoints that Services list no more looked when they were listed last. */
export class Departures {
  /** By Service and what departed: whether it was terminating. The oldest come first. */
  readonly #terminating = new Map<string, boolean>();

  note({ previous, current }: StoreEvent<SliceFacts>): void {
    const stays = new Set(
      current?.service === previous?.service ? current?.endpoints.map(({ address }) => address) : [],
    );
    if (previous !== undefined) {
      const service = objectKey(previous.namespace, previous.service);
      const gone = new Map<string, boolean>();
      for (const endpoint of previous.endpoints) {
        if (stays.has(endpoint.address)) continue;
        const { terminating } = endpoint;
        for (const departed of departedWith(endpoint)) {
          const key = keyOf(service, departed);
          gone.set(
            key,
            departed.kind === 'address'
              ? // A copy of it in another slice may be older.
                terminating || gone.get(key) === true || this.#terminating.get(key) === true
              : terminating && gone.get(key) !== false,
          );
        }
      }
      for (const [key, terminating] of gone) this.#remember(key, terminating);
    }
    if (current !== undefined && this.#terminating.size > 0) {
      const service = objectKey(current.namespace, current.service);
      for (const endpoint of current.endpoints) {
        if (endpoint.terminating) continue;
        for (const departed of departedWith(endpoint)) this.#terminating.delete(keyOf(service, departed));
      }
    }
  }

  /** Undefined: nothing is known of it. */
  wasTerminating(namespace: string, service: string, departed: Departed): boolean | undefined {
    return this.#terminating.get(keyOf(objectKey(namespace, service), departed));
  }

  #remember(key: string, terminating: boolean): void {
    this.#terminating.delete(key);
    this.#terminating.set(key, terminating);
    if (this.#terminating.size <= MAX_REMEMBERED) return;
    // A look at the first key walks over every one that was deleted before it.
    const [oldest] = this.#terminating.keys();
    if (oldest !== undefined) this.#terminating.delete(oldest);
  }
}

/** Everything that has departed from the Service if `endpoint` was the last of it. */
function departedWith({
  address,
  node,
}: {
  readonly address: string;
  readonly node?: string;
}): readonly Departed[] {
  return [
    { kind: 'address', address },
    ...(node === undefined ? [] : [{ kind: 'node', node } as const]),
    { kind: 'all' },
  ];
}

function keyOf(service: ObjectKey, departed: Departed): string {
  switch (departed.kind) {
    case 'address':
      return `${service} ${departed.address}`;
    case 'node':
      return `${service} on ${departed.node}`;
    case 'all':
      return service;
    default:
      return departed satisfies never;
  }
}
