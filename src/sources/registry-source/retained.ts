import { RegistryError } from './protocol.ts';

/** Of the instances of all services of one registry, as JSON, in characters: some 150 MiB of memory. */
const MAX_CHARACTERS = 32 * 1024 * 1024;

/** Keeps the instances of one service. */
export interface Holder {
  /** Forgets the instances. */
  forget(why: RegistryError): void;
}

/**
 * Limits what the services of one registry hold in memory together. Clients of the registry decide how much that is. The
 * largest services are the ones that are given up.
 */
export class Retained {
  readonly #characters = new Map<Holder, number>();
  #total = 0;

  /**
   * The instances of `holder` are about to be replaced by others. Makes larger services forget theirs if there is no room. Throws
   * `RegistryError` if this service is the largest, and forgets none: the old ones of `holder` stay until it forgets them.
   */
  replace(holder: Holder, instances: readonly unknown[]): void {
    const before = this.#characters.get(holder) ?? 0;
    const after = JSON.stringify(instances).length;
    while (this.#total - before + after > MAX_CHARACTERS) {
      const largest = this.#largestExcept(holder);
      if (largest === undefined || largest.characters <= after) throw tooMuch();
      this.release(largest.holder);
      largest.holder.forget(tooMuch());
    }
    this.#characters.set(holder, after);
    this.#total += after - before;
  }

  release(holder: Holder): void {
    this.#total -= this.#characters.get(holder) ?? 0;
    this.#characters.delete(holder);
  }

  #largestExcept(exception: Holder): { readonly holder: Holder; readonly characters: number } | undefined {
    let largest: { readonly holder: Holder; readonly characters: number } | undefined;
    for (const [holder, characters] of this.#characters) {
      if (holder !== exception && characters > (largest?.characters ?? 0)) largest = { holder, characters };
    }
    return largest;
  }
}

function tooMuch(): RegistryError {
  return new RegistryError('InvalidAnswer', 'service', {
    problem:
      'the addresses, tags and metadata of all services have more than 32 MiB in total, and this service is one of the largest',
    remedy: 'register fewer instances under this service, or less metadata',
  });
}
