/** Priorities of keys. A higher number runs first. */
export const PRIORITY = { endpoints: 2, spec: 1, resync: 0 } as const;
export type Priority = (typeof PRIORITY)[keyof typeof PRIORITY];

/** Every eighth run goes to the key that has waited longest, so that urgent keys cannot starve the others. */
const FAIR_EVERY = 8;

/** The place of a key in a lane. A key that moves to another place gives up its old one. */
export interface Place {
  readonly key: string;
  readonly isGivenUp: () => boolean;
}

/** A run that has started. */
export interface Run {
  readonly key: string;
  /** Frees the slot of the run. */
  readonly end: () => void;
}

/** One lane of a work queue: its waiting keys by priority, and the number of runs in progress. */
export class Lane {
  /** Maximum number of concurrent runs. */
  concurrency = 1;
  /** Number of slots reserved for endpoint changes. At least one slot is always open to all keys. */
  reserved = 0;
  #running = 0;
  /** Runs other than endpoint changes. Endpoint changes are not counted, or they would block all other keys. */
  #ordinary = 0;
  /** Waiting keys by priority. */
  readonly #waiting = [new Row(), new Row(), new Row()] as const;
  #seq = 0;
  /** Runs since the last fair turn. */
  #sinceFair = 0;

  get isIdle(): boolean {
    return this.#running === 0 && this.#waiting.every(({ first }) => first === undefined);
  }

  add(place: Place, priority: Priority): void {
    this.#seq += 1;
    this.#waiting[priority].push({ place, seq: this.#seq });
  }

  /** Starts the next run. Undefined if no slot is free, or if no waiting key may use a free slot. */
  take(): Run | undefined {
    if (this.#running >= this.concurrency) return undefined;
    const isOpen = this.#ordinary < Math.max(1, this.concurrency - this.reserved);
    // If no slot is open to all keys, the fair turn stays due.
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

  /** The row with the key that runs next. */
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

/** A first-in, first-out queue with constant-time operations. */
class Row {
  #places: Waiting[] = [];
  #head = 0;

  /** The first place that was not given up. */
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
    // Drop the consumed entries when they are more than half of the array.
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
