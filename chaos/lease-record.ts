/** One request, as recorded by the operator that sent it. Times are milliseconds of the machine's monotonic clock. */
export interface Sent {
  readonly operator: string;
  readonly method: string;
  readonly path: string;
  readonly at: number;
}

/** A write of the Lease. `at` is the start of the right to write. */
interface Renewal {
  readonly operator: string;
  readonly at: number;
}

/**
 * Records which operator wrote when, and which one held the Lease. The records of one process arrive in order. Records of
 * several processes are sorted before they are checked.
 */
export class LeaseRecord {
  readonly #durationMs: number;
  #renewals: Renewal[] = [];
  #writes: Sent[] = [];

  constructor(durationMs: number) {
    this.#durationMs = durationMs;
  }

  /** Records a line of an instrumented operator. Returns false for any other line. */
  take(operator: string, line: string): boolean {
    const match = /^(sent|answered) (\S+) (\S+) (\S+)(?: (\d+))?$/.exec(line);
    if (match === null) return false;
    const [, what, method = '', path = '', at, status] = match;
    if (method === 'GET' || path.includes('/selfsubjectaccessreviews') || isReadOfEtcd(path)) return true;
    if (!path.includes('/leases')) {
      if (what === 'sent') this.#writes.push({ operator, method, path, at: Number(at) });
    } else if (what === 'answered' && (status === '200' || status === '201')) {
      this.#renewals.push({ operator, at: Number(at) });
    }
    return true;
  }

  /** The number of writes that are not checked yet. */
  get pending(): number {
    return this.#writes.length;
  }

  /**
   * The writes that their operator sent without holding the Lease: after its duration since the last renewal was sent, or
   * after another operator acquired it. Drops the writes that it checked.
   */
  outside(): readonly Sent[] {
    const renewals = this.#renewals.toSorted((one, other) => one.at - other.at);
    const found = this.#writes.filter(({ operator, at }) => {
      const last = renewals.findLast((renewal) => renewal.at <= at);
      return last === undefined || last.operator !== operator || at >= last.at + this.#durationMs;
    });
    this.#writes = [];
    // Later writes are checked against the last renewal of each operator.
    this.#renewals = renewals.filter(
      ({ operator }, index) => !renewals.slice(index + 1).some((later) => later.operator === operator),
    );
    return found;
  }
}

/** The API of etcd has only POST. */
function isReadOfEtcd(path: string): boolean {
  return ['/v3/kv/range', '/v3/watch', '/v3/auth/authenticate'].includes(path);
}
