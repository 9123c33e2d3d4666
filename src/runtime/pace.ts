import type { Clock } from './clock.ts';

/** After the last urgent event everything else goes on slowly for this long. */
const CALM_MS = 500;
/** How many runs of a lane go on meanwhile: more than one, so that one that hangs does not stop the others. */
export const SLOW_CONCURRENCY = 2;

/** Tells queues when to make room: as long as urgent events follow one another, everything else goes on slowly. */
export class Pace implements Disposable {
  readonly #clock: Clock;
  readonly #listeners: (() => void)[] = [];
  #lastAt = 0;
  #timer: Disposable | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isSlow(): boolean {
    return this.#timer !== undefined;
  }

  /** Something urgent came. */
  urge(): void {
    this.#lastAt = this.#clock.monotonic();
    if (this.#timer !== undefined) return;
    this.#wait(CALM_MS);
    this.#tell();
  }

  /** Calls `changed` whenever `isSlow` has changed. */
  follow(changed: () => void): void {
    this.#listeners.push(changed);
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  #wait(ms: number): void {
    this.#timer = this.#clock.setTimer(ms, () => {
      const leftMs = this.#lastAt + CALM_MS - this.#clock.monotonic();
      if (leftMs > 0) {
        this.#wait(leftMs);
        return;
      }
      this.#timer = undefined;
      this.#tell();
    });
  }

  #tell(): void {
    for (const changed of this.#listeners) changed();
  }
}
