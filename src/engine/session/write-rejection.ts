import type { GatewayAuthError } from '../../model/errors.ts';
import type { UpstreamId } from '../../model/upstream.ts';

/** Retry delay of an upstream whose write was rejected (401, 403). A corrected Secret creates a new session immediately. */
export const UNAUTHORIZED_RETRY_MS = 30_000;
/** Minimum time between two retries of any rejected upstreams. */
const RETRY_EVERY_MS = 1000;

/**
 * The state in which the gateway rejects every write. An upstream that was not rejected yet may be written; rejected upstreams
 * are retried from time to time. The first accepted write ends this state, so that one upstream whose content a firewall
 * rejects cannot block the others.
 */
export class WriteRejection {
  readonly error: GatewayAuthError;
  /** When the write of an upstream was last rejected (monotonic). */
  readonly #rejectedAt = new Map<UpstreamId, number>();
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(error: GatewayAuthError) {
    this.error = error;
  }

  rejected(id: UpstreamId, now: number): void {
    this.#rejectedAt.set(id, now);
    this.#lastAt = now;
  }

  mayTry(id: UpstreamId, now: number): boolean {
    const rejectedAt = this.#rejectedAt.get(id);
    if (rejectedAt === undefined) return true;
    if (now < rejectedAt + UNAUTHORIZED_RETRY_MS || now < this.#lastAt + RETRY_EVERY_MS) return false;
    this.#lastAt = now;
    return true;
  }
}
