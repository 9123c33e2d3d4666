import type { Reason } from '../api/reasons.ts';

/** A problem and, if known, its remedy: an imperative such as `correct spec.apisix.adminUrl`. */
export interface Complaint {
  readonly problem: string;
  readonly remedy?: string | undefined;
}

/** Problem and remedy as one message, for conditions and logs. */
export function complaintText({ problem, remedy }: Complaint): string {
  return remedy === undefined ? problem : `${problem}: ${remedy}`;
}

interface ErrorOptions {
  /** See `Complaint`. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/**
 * The base class of errors that drivers, transports and sources throw. The class determines how the operator reacts.
 * `reason` becomes condition reason, Event reason and metric label. Messages state what is wrong, where, and what to do,
 * and never contain a key, a header, a request body or a URL with credentials.
 */
export abstract class OperatorError extends Error implements Complaint {
  abstract readonly reason: Reason;
  /** `message` without the remedy. */
  readonly problem: string;
  readonly remedy: string | undefined;

  constructor(problem: string, { remedy, cause }: ErrorOptions = {}) {
    super(complaintText({ problem, remedy }), cause === undefined ? {} : { cause });
    this.name = new.target.name;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** The gateway cannot be reached or gave no usable answer: network, TLS, timeout, 429, 5xx. A write may have taken effect. */
export class GatewayUnavailableError extends OperatorError {
  override readonly reason = 'GatewayUnavailable';
  /** From the header `Retry-After`, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(problem: string, options: ErrorOptions & { readonly retryAfterMs?: number | undefined } = {}) {
    super(problem, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The list of upstreams in the gateway exceeds the limit of the operator. */
export class ListTooLargeError extends GatewayUnavailableError {}

/** The gateway, or a proxy in front of it, rejected the key (401) or the request (403). */
export class GatewayAuthError extends OperatorError {
  override readonly reason = 'Unauthorized';
  /** The HTTP status; undefined if no request was sent. */
  readonly status: number | undefined;

  constructor(problem: string, options: ErrorOptions & { readonly status?: number } = {}) {
    super(problem, options);
    this.status = options.status;
  }
}

/** The gateway rejected this object (400, 413, 422). A retry gives the same answer. */
export class GatewayRejectedError extends OperatorError {
  override readonly reason = 'Rejected';
}

/**
 * One write was rejected (403) while others are accepted, because of its content or a rate limit of a proxy. A retry can
 * succeed.
 */
export class WriteRefusedError extends GatewayRejectedError {}

/** The gateway does not delete the upstream because something refers to it. `message` comes from the gateway and names what. */
export class UpstreamInUseError extends OperatorError {
  override readonly reason = 'InUse';
}

/** This replica is no longer the leader. It sends no more requests and reports nothing. */
export class WriteForbiddenError extends Error {
  override readonly name = 'WriteForbiddenError';

  constructor() {
    super('this replica is no longer allowed to write');
  }
}
