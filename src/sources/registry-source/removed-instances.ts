import type { Departed, RemovalCause } from '../../model/discovered.ts';
import type { Endpoint } from '../../model/endpoint.ts';

/** Per service. What is forgotten counts as never listed. */
const MAX_REMEMBERED = 1000;

/** How the instances of one service that it lists no more looked when they were listed last. */
export class RemovedInstances {
  /** By address: whether its last instances were all terminating. The latest come last. */
  readonly #terminating = new Map<string, boolean>();
  /** Whether everything that the service last listed was terminating; undefined while it lists something. */
  #allTerminating: boolean | undefined;

  /** `previous` and `next` are complete answers. */
  note(previous: readonly Endpoint[], next: readonly Endpoint[]): void {
    const listed = new Set(next.map(({ address }) => address));
    for (const { address, terminating } of previous) {
      if (listed.has(address)) continue;
      // Several instances may share an address: their removal is explained only if each of them was terminating.
      const others = this.#terminating.get(address) ?? true;
      this.#terminating.delete(address);
      this.#terminating.set(address, terminating && others);
    }
    for (const address of listed) this.#terminating.delete(address);
    if (next.length > 0) this.#allTerminating = undefined;
    else if (previous.length > 0) this.#allTerminating = previous.every(({ terminating }) => terminating);
    for (const address of this.#terminating.keys()) {
      if (this.#terminating.size <= MAX_REMEMBERED) break;
      this.#terminating.delete(address);
    }
  }

  cause(departed: Departed): RemovalCause {
    const wasTerminating = this.#wasTerminating(departed);
    if (wasTerminating === undefined) return 'unknown';
    return wasTerminating ? 'explained' : 'vanished';
  }

  #wasTerminating(departed: Departed): boolean | undefined {
    switch (departed.kind) {
      case 'address':
        return this.#terminating.get(departed.address);
      case 'all':
        return this.#allTerminating;
      case 'node':
        return undefined;
      default:
        return departed satisfies never;
    }
  }
}
