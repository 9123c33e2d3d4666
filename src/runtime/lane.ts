/** What a key waits for, most urgent first. */
export const PRIORITY = { endpoints: 2, spec: 1, resync: 0 } as const;
export type Priority = (typeof PRIORITY)[keyof typeof PRIORITY];

/** One run in so many goes to the key that has waited longest, so that urgent keys cannot keep the others waiting forever. */
const FAIR_EVERY = 8;

/** A place in a lane. A key that leaves it for another one gives it up. */
export interface Place {
  readonly key: string;
  readonly isGivenUp: () => boolean;
}

/** A run that a lane has begun. */
export interface Run {
  readonly key: string;
  /** Frees its slot. */
  readonly end: () => void;
}

/** What waits in one lane of a queue, and how much of it runs. */
export class Lane {
  /** How many runs may be under way at once. */
  concurrency = 1;
  /** How many of these slots only endpoint changes may use. At least one slot is always open to every key. */
  reserved = 0;
  #running = 0;
  /** Runs that are not endpoint changes. Endpoint changes do not count, or they would keep every other key waiting. */
  #ordinary = 0;
  /** By priority. */
  readonly #waiting = [new Row(), new Row(), new Row()] as const;
  #seq = 0;
  /** Runs since the key that had waited longest was last chosen. */
  #sinceFair = 0;

  get isIdle(): boolean {
    return this.#running === 0 && this.#waiting.every(({ first }) => first === undefined);
  }

  add(place: Place, priority: Priority): void {
    this.#seq += 1;
    this.#waiting[priority].push({ place, seq: this.#seq });
  }

  /** Begins the next run. Undefined when no slot is free, or when no key waits that may use a free slot. */
  take(): Run | undefined {
    if (this.#running >= this.concurrency) return undefined;
    const isOpen = this.#ordinary < Math.max(1, this.concurrency - this.reserved);
    // A fair turn that comes while no slot is open to every key stays due.
    const isFair = isOpen && this.#sinceFair >= FAIR_EVERY - 1;
    const row = this.#next(isOpen, isFair);
    const key = row?.shift()?.place.key;
    if (row === undefined || key === undefined) return undefined;
    this.#sinceFair = isFair ? 0 : this.#sinceFair + 1;
    const isOrdinary = row !== this.#waiting[PRIORITY.endpoints];
    this.#running += 1;
    if (isOrdinary) this.#ordinary += 1;
    const end = () => {
      this.#running -= 1;
      if (isOrdinary) this.#ordinary -= 1;
    };
    return { key, end };
  }

  clear(): void {
    for (const row of this.#waiting) row.clear();
  }

  /** The row whose first key runs next. */
  #next(isOpen: boolean, isFair: boolean): Row | undefined {
    const rows = this.#waiting.filter(
      (row, priority) => row.first !== undefined && (isOpen || priority === PRIORITY.endpoints),
    );
    return isFair ? rows.toSorted((a, b) => seqOf(a) - seqOf(b))[0] : rows.at(-1);
  }
}

interface Waiting {
  readonly place: Place;
  readonly seq: number;
}

function seqOf({ first }: Row): number {
  return first?.seq ?? Number.POSITIVE_INFINITY;
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
