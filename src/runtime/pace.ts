import type { Clock } from './clock.ts';

/** How long other work stays slow after the last urgent event. */
const CALM_MS = 500;
/** Concurrency of a lane while it is slow. More than one, so that a run that hangs does not stop the others. */
export const SLOW_CONCURRENCY = 2;

/** Slows down other work while urgent events arrive, so that queues have capacity for them. */
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

  /** Call this when an urgent event arrives. */
  urge(): void {
    this.#lastAt = this.#clock.monotonic();
    if (this.#timer !== undefined) return;
    this.#wait(CALM_MS);
    this.#notify();
  }

  /** Calls `changed` whenever `isSlow` changes. */
  onChange(changed: () => void): void {
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
      this.#notify();
    });
  }

  #notify(): void {
    for (const changed of this.#listeners) changed();
  }
}
