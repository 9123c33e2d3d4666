/** What a key waits for, most urgent first. */
export const PRIORITY = { endpoints: 2, spec: 1, resync: 0 } as const;
export type Priority = (typeof PRIORITY)[keyof typeof PRIORITY];

/** Of so many runs one is of what waits longest, so that nothing waits for ever behind what is more urgent. */
const FAIR_EVERY = 8;

/** A place in a lane. A key that leaves it for another one gives it up. */
export interface Place {
  readonly key: string;
  readonly isGivenUp: () => boolean;
}

/** What waits in one lane of a queue, and how much of it runs. */
export class Lane {
  /** How many runs may be under way at once. */
  concurrency = 1;
  /** How many of them are for endpoint changes alone. */
  reserved = 0;
  running = 0;
  /** By priority. */
  readonly #waiting = [new Row(), new Row(), new Row()] as const;
  #seq = 0;
  #taken = 0;

  get isIdle(): boolean {
    return this.running === 0 && this.#mostUrgent() === undefined;
  }

  add(place: Place, priority: Priority): void {
    this.#seq += 1;
    this.#waiting[priority].push({ place, seq: this.#seq });
  }

  /** What is to run next; undefined while as much runs as may, or where nothing waits. */
  take(): Place | undefined {
    if (this.running >= this.concurrency) return undefined;
    const row = this.#next();
    if (row?.first === undefined) return undefined;
    this.#taken += 1;
    return row.shift()?.place;
  }

  clear(): void {
    for (const row of this.#waiting) row.clear();
  }

  #next(): Row | undefined {
    if (this.running >= this.concurrency - this.reserved) return this.#waiting[PRIORITY.endpoints];
    const isFair = (this.#taken + 1) % FAIR_EVERY === 0;
    return isFair ? this.#longestWaiting() : this.#mostUrgent();
  }

  #mostUrgent(): Row | undefined {
    return this.#waiting.findLast(({ first }) => first !== undefined);
  }

  #longestWaiting(): Row | undefined {
    const seqOf = ({ first }: Row) => first?.seq ?? Number.POSITIVE_INFINITY;
    return this.#waiting.toSorted((a, b) => seqOf(a) - seqOf(b))[0];
  }
}

interface Waiting {
  readonly place: Place;
  readonly seq: number;
}

/** First in, first out, in constant time. */
class Row {
  #places: Waiting[] = [];
  #head = 0;

  /** The first that is not given up. */
  get first(): Waiting | undefined {
    while (this.#places[this.#head]?.place.isGivenUp() === true) this.shift();
    return this.#places[this.#head];
  }

  push(waiting: Waiting): void {
    this.#places.push(waiting);
  }

  shift(): Waiting | undefined {
    const waiting = this.#places[this.#head];
    this.#head += 1;
    // What has gone is let go of once it is half of all.
    if (this.#head * 2 > this.#places.length) {
      this.#places = this.#places.slice(this.#head);
      this.#head = 0;
    }
    return waiting;
  }

  clear(): void {
    this.#places = [];
    this.#head = 0;
  }
}
