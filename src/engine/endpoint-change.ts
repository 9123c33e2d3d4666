/** When the endpoints of one object changed that its gateway has not accepted yet, on the monotonic clock. */
export class EndpointChange {
  #since: number | undefined;

  /** A change arrived at `now`. */
  arrived(now: number): void {
    this.restore(now);
  }

  /** Whether a change was not reconciled yet, or could not be carried out yet. */
  get isPending(): boolean {
    return this.#since !== undefined;
  }

  /** The oldest change, which is about to be reconciled; one that arrives from now on is another one. */
  take(): number | undefined {
    const since = this.#since;
    this.#since = undefined;
    return since;
  }

  /** The change that was taken could not be carried out yet. */
  restore(since: number | undefined): void {
    if (since !== undefined) this.#since = Math.min(since, this.#since ?? since);
  }
}
