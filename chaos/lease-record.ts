/** One request of one operator as its own record tells it; times in milliseconds of the machine's monotonic clock. */
export interface Sent {
  readonly operator: string;
  readonly method: string;
  readonly path: string;
  readonly at: number;
}

/** A Lease that was written: from when on the right to write counts. */
interface Renewal {
  readonly operator: string;
  readonly at: number;
}

/**
 * Who wrote when, and who had the lease then. A record of one process is in order; those of several come in as they
 * like, and are put in order when they are judged.
 */
export class LeaseRecord {
  readonly #durationMs: number;
  #renewals: Renewal[] = [];
  #writes: Sent[] = [];

  constructor(durationMs: number) {
    this.#durationMs = durationMs;
  }

  /** Takes a line that an instrumented operator printed; false if it is none of those. */
  take(operator: string, line: string): boolean {
    const match = /^(sent|answered) (\S+) (\S+) (\S+)(?: (\d+))?$/.exec(line);
    if (match === null) return false;
    const [, what, method = '', path = '', at, status] = match;
    if (method === 'GET' || path.includes('/selfsubjectaccessreviews')) return true;
    if (!path.includes('/leases')) {
      if (what === 'sent') this.#writes.push({ operator, method, path, at: Number(at) });
    } else if (what === 'answered' && (status === '200' || status === '201')) {
      this.#renewals.push({ operator, at: Number(at) });
    }
    return true;
  }

  /** How many writes wait to be judged. */
  get pending(): number {
    return this.#writes.length;
  }

  /**
   * The writes that were begun outside a lease of their operator: not within its duration after the last renewal was
   * sent, or after somebody else took it. Forgets what was judged.
   */
  outside(): readonly Sent[] {
    const renewals = this.#renewals.toSorted((one, other) => one.at - other.at);
    const found = this.#writes.filter(({ operator, at }) => {
      const last = renewals.findLast((renewal) => renewal.at <= at);
      return last === undefined || last.operator !== operator || at >= last.at + this.#durationMs;
    });
    this.#writes = [];
    // Writes that come next count from the last renewal of each operator.
    this.#renewals = renewals.filter(
      ({ operator }, index) => !renewals.slice(index + 1).some((later) => later.operator === operator),
    );
    return found;
  }
}
