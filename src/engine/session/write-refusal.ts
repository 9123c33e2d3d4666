import type { GatewayAuthError } from '../../model/errors.ts';
import type { UpstreamId } from '../../model/upstream.ts';

/** Between two writes of one upstream that was refused (401, 403); a corrected Secret makes a new session at once. */
export const UNAUTHORIZED_RETRY_MS = 30_000;
/** Between two writes of upstreams that were refused before. */
const TRY_EVERY_MS = 1000;

/**
 * The gateway refuses every write, whatever it is about. An upstream that was not refused yet may try, and each of the
 * others tries from time to time: the first accepted write ends this state, and one upstream whose content a firewall
 * refuses cannot keep the others waiting.
 */
export class WriteRefusal {
  readonly error: GatewayAuthError;
  /** When the write of an upstream was refused last, on the monotonic clock. */
  readonly #refusedAt = new Map<UpstreamId, number>();
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(error: GatewayAuthError) {
    this.error = error;
  }

  refused(id: UpstreamId, now: number): void {
    this.#refusedAt.set(id, now);
    this.#lastAt = now;
  }

  mayTry(id: UpstreamId, now: number): boolean {
    const refusedAt = this.#refusedAt.get(id);
    if (refusedAt === undefined) return true;
    if (now < refusedAt + UNAUTHORIZED_RETRY_MS || now < this.#lastAt + TRY_EVERY_MS) return false;
    this.#lastAt = now;
    return true;
  }
}
