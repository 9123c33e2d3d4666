import type { Reason } from '../api/reasons.ts';

/** A problem and, where one is known, its remedy: a clause such as `correct spec.apisix.adminUrl`. */
export interface Complaint {
  readonly problem: string;
  readonly remedy?: string | undefined;
}

/** Both in one message, for conditions and logs. */
export function complaintText({ problem, remedy }: Complaint): string {
  return remedy === undefined ? problem : `${problem}: ${remedy}`;
}

interface ErrorOptions {
  /** What to do, as in `Complaint`. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/**
 * What an edge (driver, transport, source) throws. The class says what follows from it; `reason` is the word that
 * becomes condition reason, Event reason and metric label. Messages say what is wrong, where, and what to do, and
 * never hold a key, a header, a request body or a URL with credentials.
 */
export abstract class OperatorError extends Error implements Complaint {
  abstract readonly reason: Reason;
  /** What is wrong, and where: `message` without the remedy. */
  readonly problem: string;
  readonly remedy: string | undefined;

  constructor(problem: string, { remedy, cause }: ErrorOptions = {}) {
    super(complaintText({ problem, remedy }), cause === undefined ? {} : { cause });
    this.name = new.target.name;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** The gateway could not be reached or did not answer usefully: network, TLS, timeout, 429, 5xx. The write may or may not have happened. */
export class GatewayUnavailableError extends OperatorError {
  override readonly reason = 'GatewayUnavailable';
  /** What the gateway asked for by `Retry-After`, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(problem: string, options: ErrorOptions & { readonly retryAfterMs?: number | undefined } = {}) {
    super(problem, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The gateway answers, and its list of upstreams is larger than the operator can keep. */
export class ListTooLargeError extends GatewayUnavailableError {}

/** The gateway, or a proxy in front of it, refused the key (401) or the request (403). */
export class GatewayAuthError extends OperatorError {
  override readonly reason = 'Unauthorized';
  /** The HTTP status; undefined where no request was sent. */
  readonly status: number | undefined;

  constructor(problem: string, options: ErrorOptions & { readonly status?: number } = {}) {
    super(problem, options);
    this.status = options.status;
  }
}

/** The gateway understood and refused this object (400, 413, 422). Trying the same again gives the same answer. */
export class GatewayRejectedError extends OperatorError {
  override readonly reason = 'Rejected';
}

/**
 * A write was refused (403) while others are accepted: by its content, or by a proxy that limits rates. The same write may
 * be accepted later.
 */
export class WriteRefusedError extends GatewayRejectedError {}

/** The gateway keeps the upstream because something refers to it. `message` is the gateway's own and names the referrer. */
export class UpstreamInUseError extends OperatorError {
  override readonly reason = 'InUse';
}

/** Another replica may write by now: nothing is asked of the gateway any more, and nothing is said about it. */
export class WriteForbiddenError extends Error {
  override readonly name = 'WriteForbiddenError';

  constructor() {
    super('this replica is no longer allowed to write');
  }
}
