import type { Reason } from '../../api/reasons.ts';
import { GatewayAuthError, GatewayUnavailableError, OperatorError } from '../../model/errors.ts';

export interface RequestsOptions {
  /** Runs a request within the connection's `limits.requestsPerSecond`. */
  readonly limit: <T>(request: () => Promise<T>) => Promise<T>;
  /** A request failed. */
  readonly onError?: ((reason: Reason) => void) | undefined;
  /** A request failed in a way that suggests that the whole gateway is unavailable. */
  readonly onSuspicion: () => void;
}

/** Sends the requests of a session until the session is closed. */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #closed: AbortSignal;
  #composed: { readonly signal: AbortSignal; readonly both: AbortSignal } | undefined;

  constructor(options: RequestsOptions, closed: AbortSignal) {
    this.#options = options;
    this.#closed = closed;
  }

  /** Sends a request. Its signal aborts when `signal` aborts or the session is closed. */
  async send<T>(signal: AbortSignal, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const both = this.#orClosed(signal);
    try {
      return await this.#options.limit(() => {
        both.throwIfAborted();
        return request(both);
      });
    } catch (error) {
      if (error instanceof OperatorError) this.#options.onError?.(error.reason);
      // A failed request may concern one object only, and a key may be allowed to read but not to write. A cheap probe finds
      // out whether the whole gateway is unavailable.
      if (error instanceof GatewayAuthError || error instanceof GatewayUnavailableError) {
        this.#options.onSuspicion();
      }
      throw error;
    }
  }

  /** Cached, because one caller sends many requests with one signal. */
  #orClosed(signal: AbortSignal): AbortSignal {
    if (this.#composed?.signal !== signal) {
      this.#composed = { signal, both: AbortSignal.any([signal, this.#closed]) };
    }
    return this.#composed.both;
  }
}
