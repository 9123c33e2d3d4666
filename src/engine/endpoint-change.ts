/** Time of the oldest endpoint change that the gateway of an object has not accepted yet (monotonic). */
export class EndpointChange {
  #since: number | undefined;

  /** Records a change at `now`. */
  arrived(now: number): void {
    this.restore(now);
  }

  /** Whether a change still has to be reconciled or written. */
  get isPending(): boolean {
    return this.#since !== undefined;
  }

  /** Returns and clears the oldest change, because a reconcile begins. Later changes count separately. */
  take(): number | undefined {
    const since = this.#since;
    this.#since = undefined;
    return since;
  }

  /** Puts a taken change back, because the gateway did not accept it yet. */
  restore(since: number | undefined): void {
    if (since !== undefined) this.#since = Math.min(since, this.#since ?? since);
  }
}
