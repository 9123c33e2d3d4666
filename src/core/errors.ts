import type { Reason } from '../api/reasons.ts';

/**
 * What an edge (driver, transport, source) throws. The class says what follows from it; `reason` is the word that
 * becomes condition reason, Event reason and metric label. Messages say what is wrong, where, and what to do, and
 * never hold a key, a header, a request body or a URL with credentials.
 */
export abstract class OperatorError extends Error {
  abstract readonly reason: Reason;

  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The gateway could not be reached or did not answer usefully: network, TLS, timeout, 429, 5xx. The write may or may not have happened. */
export class GatewayUnavailableError extends OperatorError {
  override readonly reason = 'GatewayUnavailable';
  /** What the gateway asked for by `Retry-After`, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    options: { readonly cause?: unknown; readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The gateway, or a proxy in front of it, refused the key (401) or the request (403). */
export class GatewayAuthError extends OperatorError {
  override readonly reason = 'Unauthorized';
  /** The HTTP status; undefined where no request was sent. */
  readonly status: number | undefined;

  constructor(message: string, options: { readonly status?: number } = {}) {
    super(message);
    this.status = options.status;
  }
}

/** The gateway understood and refused this object (400, 413, 422). Trying the same again gives the same answer. */
export class GatewayRejectedError extends OperatorError {
  override readonly reason = 'Rejected';
}

/** The gateway keeps the upstream because something refers to it. `message` is the gateway's own and names the referrer. */
export class UpstreamInUseError extends OperatorError {
  override readonly reason = 'InUse';
}

/** Another replica may write by now: nothing is asked of the gateway any more, and nothing is said about it. */
export class WriteForbiddenError extends Error {
  override readonly name = 'WriteForbiddenError';

  constructor() {
    super('this replica may write no more');
  }
}
