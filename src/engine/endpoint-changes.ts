import type { ObjectKey } from '../model/keys.ts';
import type { Clock } from '../runtime/clock.ts';

/** When the endpoints of objects changed that no gateway has accepted yet, on the monotonic clock. */
export class EndpointChanges {
  readonly #since = new Map<ObjectKey, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  arrived(key: ObjectKey): void {
    this.restore(key, this.#clock.monotonic());
  }

  /** Whether something arrived that was not looked at yet, or could not be carried out yet. */
  waits(key: ObjectKey): boolean {
    return this.#since.has(key);
  }

  /** The oldest change, which is about to be looked at; what arrives from now on is another one. */
  take(key: ObjectKey): number | undefined {
    const since = this.#since.get(key);
    this.#since.delete(key);
    return since;
  }

  /** What was taken could not be carried out yet. */
  restore(key: ObjectKey, since: number | undefined): void {
    if (since !== undefined) this.#since.set(key, Math.min(since, this.#since.get(key) ?? since));
  }

  forget(key: ObjectKey): void {
    this.#since.delete(key);
  }
}
